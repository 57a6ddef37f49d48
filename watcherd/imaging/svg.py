"""SVG by librsvg (inside libvips), where a root allows it: drawn straight at the size that is wanted.

Responsible for: looking through the document before anything is drawn, and drawing it.
Not responsible for: permission (`decoders.py`), nor the fence, which keeps files and the network away whatever it says.

An SVG is a program text: a kilobyte can ask for gigabytes. librsvg bounds nesting, entities and references, and follows
no reference out of the document; what it does not bound is the size of pictures that are embedded (a PNG of 27 kB took
2 GB) and the memory of its elements (1.5 kB each). So the document is read once beforehand, by expat.
"""

import re
from base64 import b64decode
from dataclasses import dataclass, field
from xml.parsers import expat

from watcherd.imaging.geometry import Size
from watcherd.imaging.sniff import Kind, kind_of
from watcherd.imaging.tiff import Content
from watcherd.imaging.unsupported import UnsupportedFormError
from watcherd.imaging.vips import pyvips

_MAX_BYTES = 8 * 1024 * 1024
_MAX_ELEMENTS = 250_000
_MAX_EMBEDDED_PIXELS = 25_000_000
_ELEMENT_BYTES = 1600
_EMBEDDED_PIXEL_BYTES = 9
_EMBEDDED = {Kind.JPEG: "jpegload_buffer", Kind.PNG: "pngload_buffer"}
_EMBEDDING = frozenset(("image", "feImage"))
_TEXT = frozenset(("text", "tspan", "textPath"))
_HREFS = ("href", "http://www.w3.org/1999/xlink href")
_XINCLUDE = "http://www.w3.org/2001/XInclude"
_BASE64_PICTURE = re.compile(r"data:[\w/+.-]*(?:;[\w=-]+)*;base64,(.*)", re.DOTALL | re.IGNORECASE)


@dataclass(slots=True)
class Survey:
    """What a document consists of: elements, pixels of embedded pictures, and whether it has text to draw."""

    elements: int = 0
    embedded_pixels: int = 0
    has_text: bool = field(default=False)

    @property
    def memory_bytes(self) -> int:
        """What librsvg needs for it, besides the picture that it draws."""
        return self.elements * _ELEMENT_BYTES + self.embedded_pixels * _EMBEDDED_PIXEL_BYTES


def survey(data: Content) -> Survey:
    """Read through a document. Raises UnsupportedFormError where it is too much, ExpatError where it is no XML."""
    if len(data) > _MAX_BYTES:
        raise UnsupportedFormError(f"{len(data):,} bytes, and documents up to {_MAX_BYTES:,} are drawn")
    found = Survey()

    def start(name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        found.elements += 1
        if found.elements > _MAX_ELEMENTS:
            raise UnsupportedFormError(f"more than {_MAX_ELEMENTS:,} elements")
        if space == _XINCLUDE:
            raise UnsupportedFormError("it includes other documents")
        found.has_text = found.has_text or local in _TEXT
        if local in _EMBEDDING:
            found.embedded_pixels += sum(_pixels_of(attributes[key]) for key in _HREFS if key in attributes)
        if found.embedded_pixels > _MAX_EMBEDDED_PIXELS:
            raise UnsupportedFormError(
                f"pictures of {found.embedded_pixels:,} pixels inside, and up to {_MAX_EMBEDDED_PIXELS:,} are drawn"
            )

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.Parse(bytes(data), True)
    return found


def size_of(data: Content) -> Size:
    """Width and height in pixels of CSS, as the document states them. Raises what `survey` does, and pyvips.Error."""
    survey(data)
    image = _opened(data, scale=1.0)
    return image.width, image.height


def read(data: Content, *, shrink: float) -> pyvips.Image:
    """The picture at 1 / `shrink` of its size, with what is not drawn transparent."""
    return _opened(data, scale=1 / shrink)


def note_of(data: Content) -> str:
    """What a person should know of the picture, or nothing."""
    return "its text is drawn as boxes: a worker sees no fonts" if survey(data).has_text else ""


def _opened(data: Content, *, scale: float) -> pyvips.Image:
    return pyvips.Image.svgload_buffer(bytes(data), scale=scale)


def _pixels_of(reference: str) -> int:
    """Pixels of an embedded picture by its header. References out of the document are not followed by anybody."""
    stripped = reference.strip()
    if stripped[:5].lower() != "data:":
        return 0
    encoded = _BASE64_PICTURE.fullmatch(stripped)
    try:
        data = b64decode(encoded[1]) if encoded else b""
        loader = _EMBEDDED.get(kind_of(data)) if data else None  # type: ignore[arg-type]
        head = getattr(pyvips.Image, loader)(data) if loader else None
    except (ValueError, pyvips.Error) as error:
        raise UnsupportedFormError("an embedded picture is damaged") from error
    if head is None:
        raise UnsupportedFormError("a picture inside is of a kind that is not drawn")
    return int(head.width * head.height)
