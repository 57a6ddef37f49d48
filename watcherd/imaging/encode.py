"""From pixels to the bytes of a derivative, with its mark inside and nothing else that was not asked for.

Responsible for: the encoders, their options, the metadata that a variant keeps.
Not responsible for: sizes and colours.

Measured on 1200-pixel photos (milliseconds, bytes): progressive JPEG by Pillow 17, by libvips 18; WebP method 2 30 ms
and 99 kB, method 4 70 ms and 95 kB; AVIF speed 8 133 ms and 76 kB, speed 6 403 ms and 73 kB; PNG level 1 66 ms and
1.6 MB, level 6 260 ms and 1.4 MB; JPEG XL (quality 80) effort 3 23 ms and 106 kB, effort 5 148 ms and 109 kB. Both
libraries are equally fast for WebP and AVIF, so Pillow does all of them.

An effort of 0 to 9 spans what is worth its time: WebP's methods 0 to 6, AVIF's speeds 10 to 1, JPEG XL's efforts 1 to 7
(8 and 9 take five times as long and 280 bytes a pixel, for 6 %).
"""

import io
from dataclasses import dataclass

from PIL import Image

from watcherd.imaging.formats import jxl
from watcherd.imaging.marks import mark_jpeg, mark_jxl, mark_png, xmp_packet
from watcherd.imaging.vips import pixels_of, pyvips, shape_of
from watcherd.model import Chroma, OutputFormat, Variant
from watcherd.naming import Mark

_LARGE_PIXELS = 16_000_000
"""Above it libvips encodes JPEGs: it needs no second and third copy of the pixels."""
_BEST_EFFORT = 7
_HIGHEST_HALVED_QUALITY = 89


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What of the source's metadata goes along (empty: nothing)."""

    exif: bytes = b""
    xmp: bytes = b""
    icc_profile: bytes = b""


def encode(image: pyvips.Image, variant: Variant, mark: Mark, kept: Kept) -> bytes:
    """Encode an 8-bit grey or RGB picture."""
    match variant.format:
        case OutputFormat.JPEG:
            return mark_jpeg(_jpeg(image, variant, kept), mark)
        case OutputFormat.PNG:
            level = 1 if variant.effort is None else max(1, variant.effort)
            return mark_png(_saved(image, "PNG", _metadata(kept), compress_level=level), mark)
        case OutputFormat.WEBP:
            method = 2 if variant.effort is None else round(variant.effort * 6 / 9)
            options = {**_metadata(kept), "xmp": xmp_packet(mark, kept.xmp)}
            return _saved(image, "WEBP", options, quality=variant.quality, method=method)
        case OutputFormat.AVIF:
            speed = 8 if variant.effort is None else 10 - variant.effort
            options = {**_metadata(kept), "xmp": xmp_packet(mark, kept.xmp), "subsampling": _chroma(variant).value}
            return _saved(image, "AVIF", options, quality=variant.quality, speed=speed, max_threads=1)
        case OutputFormat.JXL:
            effort = 3 if variant.effort is None else max(1, round(variant.effort * 7 / 9))
            stream = _saved(image, jxl.encoder(), {}, quality=variant.quality, effort=effort, num_threads=0)
            return mark_jxl(stream, mark, exif=kept.exif.removeprefix(b"Exif\0\0"), xmp=kept.xmp)


def _jpeg(image: pyvips.Image, variant: Variant, kept: Kept) -> bytes:
    best = variant.effort is not None and variant.effort >= _BEST_EFFORT
    width, height, _ = shape_of(image)
    if best or width * height > _LARGE_PIXELS:
        return _jpeg_by_vips(image, variant, kept, best=best)
    options = {**_metadata(kept), "subsampling": _chroma(variant).value}
    return _saved(image, "JPEG", options, quality=variant.quality, progressive=variant.progressive)


def _jpeg_by_vips(image: pyvips.Image, variant: Variant, kept: Kept, *, best: bool) -> bytes:
    image = image.copy()
    for field in image.get_fields():
        if field.endswith("-data"):
            image.remove(field)
    for field, blob in (("exif-data", kept.exif), ("xmp-data", kept.xmp), ("icc-profile-data", kept.icc_profile)):
        if blob:
            image.set_type(pyvips.GValue.blob_type, field, blob)
    encoded: bytes = image.jpegsave_buffer(
        Q=variant.quality,
        interlace=variant.progressive,
        optimize_coding=best or variant.progressive,
        trellis_quant=best,
        overshoot_deringing=best,
        optimize_scans=best and variant.progressive,
        subsample_mode="on" if _chroma(variant) is Chroma.HALF else "off",
        keep=["exif", "xmp", "icc"] if kept != Kept() else "none",
    )
    return encoded


def _saved(image: pyvips.Image, container: str, metadata: dict[str, bytes | str], **options: int) -> bytes:
    width, height, bands = shape_of(image)
    mode = "L" if bands == 1 else "RGB"
    picture = Image.new(mode, (width, height), None)  # not filled first, as `frombuffer` would: 1 ms of a preview's 12
    picture.frombytes(pixels_of(image), "raw", mode, 0, 1)
    target = io.BytesIO()
    picture.save(target, container, **metadata, **options)
    return target.getvalue()


def _metadata(kept: Kept) -> dict[str, bytes | str]:
    named = {"exif": kept.exif, "xmp": kept.xmp, "icc_profile": kept.icc_profile}
    return {name: blob for name, blob in named.items() if blob}


def _chroma(variant: Variant) -> Chroma:
    if variant.chroma is Chroma.AUTO:
        return Chroma.HALF if variant.quality <= _HIGHEST_HALVED_QUALITY else Chroma.FULL
    return variant.chroma
