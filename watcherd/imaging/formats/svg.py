"""SVG by librsvg (inside libvips), where a root allows it: drawn straight at the size that is wanted.

Responsible for: looking through the document before anything is drawn, and drawing it.
Not responsible for: permission (`decoders.py`), nor the fence, which keeps files and the network away whatever it says.

An SVG is a program text: a kilobyte can ask for gigabytes. librsvg bounds nesting, entities and references, and follows
no reference out of the document; what it does not bound is the size of pictures that are embedded (a PNG of 27 kB took
2 GB), the results of filters (all are kept until the filter ends, each as large as the picture that is drawn: 600 took
3.3 GB), the memory of its elements (1.5 kB each) and that of its paths (160 bytes for each byte). So the document is
read once beforehand, by expat. Not told beforehand is what strokes along large curves take: 800 MB for 1 MB of arcs.
"""

import re
from base64 import b64decode
from dataclasses import dataclass, field
from xml.parsers import expat

from watcherd.imaging.content import Content
from watcherd.imaging.geometry import Size
from watcherd.imaging.sniff import Kind, kind_of
from watcherd.imaging.unsupported import UnsupportedFormError
from watcherd.imaging.vips import pyvips

_MAX_BYTES = 8 * 1024 * 1024
_MAX_ELEMENTS = 250_000
_MAX_EMBEDDED_PIXELS = 25_000_000
_MAX_FILTER_STEPS = 32
_ELEMENT_BYTES = 1600
_OUTLINE_BYTES = 30  # of what is kept of all outlines, and what is built besides of the one that is drawn
_DRAWN_OUTLINE_BYTES = 170
_EMBEDDED_PIXEL_BYTES = 9
_EMBEDDED = {Kind.JPEG: "jpegload_buffer", Kind.PNG: "pngload_buffer"}
_EMBEDDING = frozenset(("image", "feImage"))
_OUTLINES = ("d", "points")
_PARTS_OF_STEPS = frozenset(
    ("feFuncR", "feFuncG", "feFuncB", "feFuncA", "feMergeNode", "feDistantLight", "fePointLight", "feSpotLight")
)
_TEXT = frozenset(("text", "tspan", "textPath"))
_HREFS = ("href", "http://www.w3.org/1999/xlink href")
_XINCLUDE = "http://www.w3.org/2001/XInclude"
_LEFT_OUT_OF_URLS = str.maketrans("", "", "\t\n\r")
_BASE64_PICTURE = re.compile(r"data:[\w/+.-]*(?:;[\w=-]+)*;base64,([a-z0-9+/ ]*={0,2} *)", re.ASCII | re.IGNORECASE)


@dataclass(slots=True)
class Survey:
    """What a document consists of: elements, pixels of embedded pictures, and whether it has text to draw.

    `filter_steps` are the elements of filters with a result of their own. `outline_bytes` is the length of what
    describes paths and polygons, `longest_outline_bytes` that of the longest one.
    """

    elements: int = 0
    embedded_pixels: int = 0
    filter_steps: int = 0
    outline_bytes: int = 0
    longest_outline_bytes: int = 0
    has_text: bool = field(default=False)

    @property
    def memory_bytes(self) -> int:
        """What librsvg needs for it, besides the picture that it draws and the results of filters."""
        outlines = self.outline_bytes * _OUTLINE_BYTES + self.longest_outline_bytes * _DRAWN_OUTLINE_BYTES
        return self.elements * _ELEMENT_BYTES + self.embedded_pixels * _EMBEDDED_PIXEL_BYTES + outlines

    def count(self, local: str, attributes: dict[str, str]) -> None:
        """Take an element in. Raises UnsupportedFormError where the document is too much with it."""
        self.elements += 1
        self.has_text = self.has_text or local in _TEXT
        self.filter_steps += local.startswith("fe") and local not in _PARTS_OF_STEPS
        for length in (len(attributes[key]) for key in _OUTLINES if key in attributes):
            self.outline_bytes += length
            self.longest_outline_bytes = max(self.longest_outline_bytes, length)
        if local in _EMBEDDING:
            self.embedded_pixels += sum(_pixels_of(attributes[key]) for key in _HREFS if key in attributes)
        if self.elements > _MAX_ELEMENTS:
            raise UnsupportedFormError(f"more than {_MAX_ELEMENTS:,} elements")
        if self.filter_steps > _MAX_FILTER_STEPS:
            raise UnsupportedFormError(f"more than {_MAX_FILTER_STEPS} steps of filters")
        if self.embedded_pixels > _MAX_EMBEDDED_PIXELS:
            raise UnsupportedFormError(
                f"pictures of {self.embedded_pixels:,} pixels inside, and up to {_MAX_EMBEDDED_PIXELS:,} are drawn"
            )


def survey(data: Content) -> Survey:
    """Read through a document. Raises UnsupportedFormError where it is too much, ExpatError where it is no XML."""
    if len(data) > _MAX_BYTES:
        raise UnsupportedFormError(f"{len(data):,} bytes, and documents up to {_MAX_BYTES:,} are drawn")
    found = Survey()

    def start(name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if space == _XINCLUDE:
            raise UnsupportedFormError("it includes other documents")
        found.count(local, attributes)

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
    """Pixels of an embedded picture by its header. References out of the document are not followed by anybody.

    librsvg reads the reference as a URL: it drops tabs and ends of lines wherever they are, and undoes percent signs
    before base64. What it might read otherwise than we do is refused, as it would be another picture.
    """
    url = reference.translate(_LEFT_OUT_OF_URLS).strip()
    if url[:5].lower() != "data:":
        return 0
    encoded = _BASE64_PICTURE.fullmatch(url)
    if encoded is None:
        raise UnsupportedFormError("a picture inside is not in plain base64")
    try:
        data = b64decode("".join(encoded[1].split()), validate=True)
        loader = _EMBEDDED.get(kind_of(data))  # type: ignore[arg-type]
        head = getattr(pyvips.Image, loader)(data) if loader else None
    except (ValueError, pyvips.Error) as error:
        raise UnsupportedFormError("an embedded picture is damaged") from error
    if head is None:
        raise UnsupportedFormError("a picture inside is of a kind that is not drawn")
    return int(head.width * head.height)
