"""Small pictures with known answers: red, green, blue and white quarters, in any container and any orientation."""

import hashlib
import io
import struct
from collections.abc import Sequence
from typing import Any

import pillow_heif
from PIL import Image, ImageCms

from watcherd.imaging.decode import identify
from watcherd.imaging.render import Rendering, render
from watcherd.model import Failed, Header, Ignored, Incomplete, Rejected, Variant
from watcherd.settings import LimitSettings

pillow_heif.register_heif_opener()

RED, GREEN, BLUE, WHITE = (230, 20, 30), (30, 180, 40), (20, 40, 200), (255, 255, 255)
QUARTERS = (RED, GREEN, BLUE, WHITE)
LIMITS = LimitSettings()
SMALL = Variant(name="small", width=64, height=64, quality=95)

# what a camera held that way has stored: undoing it gives the upright picture (EXIF 2.32, tag 0x0112)
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def quarters(width: int = 160, height: int = 120, mode: str = "RGB") -> Image.Image:
    picture = Image.new("RGB", (width, height))
    for index, colour in enumerate(QUARTERS):
        left, top = (index % 2) * width // 2, (index // 2) * height // 2
        picture.paste(colour, (left, top, left + width - width // 2, top + height - height // 2))
    return picture if mode == "RGB" else picture.convert(mode)


def noise(width: int = 400, height: int = 300) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def saved(picture: Image.Image, container: str, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, container, **options)
    return target.getvalue()


def turned(container: str, orientation: int) -> bytes:
    """The quarters as stored by a camera that was held that way, with its EXIF note."""
    picture = quarters()
    if orientation in STORED:
        picture = picture.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 95} if container not in ("PNG", "TIFF") else {}
    return saved(picture, container, exif=exif.tobytes() if container == "HEIF" else exif, **options)


def adobe_like_profile() -> bytes:
    """A profile with other primaries than sRGB: what makes red of its numbers is another red."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def first_look(
    data: bytes,
    variants: Sequence[Variant] = (SMALL,),
    *,
    limits: LimitSettings = LIMITS,
    has_holes: bool = False,
    tolerant: bool = False,
    other_decoder: bool = False,
) -> Header | Ignored | Incomplete | Rejected:
    return identify(
        data,
        variants=variants,
        limits=limits,
        has_holes=has_holes,
        tolerant=tolerant,
        other_decoder=other_decoder,
    )


def outcome(
    data: bytes,
    variants: Sequence[Variant] = (SMALL,),
    *,
    limits: LimitSettings = LIMITS,
    tolerant: bool = False,
    other_decoder: bool = False,
) -> Rendering | Ignored | Incomplete | Rejected | Failed:
    """Both looks, as a worker does it."""
    header = first_look(data, variants, limits=limits, tolerant=tolerant, other_decoder=other_decoder)
    if not isinstance(header, Header):
        return header
    digest = hashlib.sha256(data).digest()
    return render(
        data,
        header,
        variants=variants,
        digest=digest,
        limits=limits,
        tolerant=tolerant,
        other_decoder=other_decoder,
    )


def rendered(data: bytes, *variants: Variant, **options: Any) -> list[Image.Image]:
    """The derivatives, decoded; anything but a rendering is an error."""
    made = outcome(data, variants or (SMALL,), **options)
    assert isinstance(made, Rendering), made
    pictures = [Image.open(io.BytesIO(picture.data)) for picture in made.pictures]
    for picture in pictures:
        picture.load()
    return pictures


def corners(picture: Image.Image) -> tuple[tuple[int, ...], ...]:
    """The colours in the middle of each quarter."""
    upright = picture.convert("RGB")
    width, height = upright.size
    places = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    return tuple(upright.getpixel(place) for place in places)  # type: ignore[misc]


def is_close(seen: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]], *, within: int = 12) -> bool:
    pairs = zip(seen, wanted, strict=True)
    return all(abs(a - b) <= within for one, other in pairs for a, b in zip(one, other, strict=True))


def psd(picture: Image.Image, *, packed: bool = False) -> bytes:
    """A flattened Photoshop file: header, three empty sections, then one plane after the other (Pillow writes none)."""
    width, height = picture.size
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3) + bytes(12)
    planes = [plane.tobytes() for plane in picture.split()]
    if not packed:
        return header + b"\0\0" + b"".join(planes)
    rows = [plane[i * width : (i + 1) * width] for plane in planes for i in range(height)]
    coded = [b"".join(bytes((0, byte)) for byte in row) for row in rows]
    return header + b"\0\1" + b"".join(struct.pack(">H", len(row)) for row in coded) + b"".join(coded)


def every_container(picture: Image.Image) -> dict[str, bytes]:
    """The picture in all forms that are decoded, by a name for test output."""
    return {
        "jpeg": saved(picture, "JPEG", quality=90),
        "jpeg_progressive": saved(picture, "JPEG", quality=90, progressive=True),
        "jpeg_cmyk": saved(picture.convert("CMYK"), "JPEG", quality=90),
        "png": saved(picture, "PNG"),
        "png_palette": saved(picture.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        "webp": saved(picture, "WEBP", quality=90),
        "webp_lossless": saved(picture, "WEBP", lossless=True),
        "gif": saved(picture, "GIF"),
        "tiff": saved(picture, "TIFF"),
        "tiff_lzw": saved(picture, "TIFF", compression="tiff_lzw"),
        "tiff_jpeg": saved(picture, "TIFF", compression="jpeg"),
        "avif": saved(picture, "AVIF", quality=80, speed=10),
        "heic": saved(picture, "HEIF", quality=80),
        "bmp": saved(picture, "BMP"),
        "ico": saved(picture, "ICO", sizes=[(160, 120)]),
        "tga": saved(picture, "TGA"),
        "tga_packed": saved(picture, "TGA", compression="tga_rle"),
        "pcx": saved(picture, "PCX"),
        "ppm": saved(picture, "PPM"),
        "pgm": saved(picture.convert("L"), "PPM"),
        "jp2": saved(picture, "JPEG2000"),
        "j2k": saved(picture, "JPEG2000", no_jp2=True),
        "psd": psd(picture),
        "psd_packed": psd(picture, packed=True),
    }
