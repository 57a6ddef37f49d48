"""One decode, many variants.

Responsible for: the way from an identified content to finished derivatives.
Not responsible for: decoding (`master.py`), sizes (`geometry.py`), colour, encoding, files.

Every variant is made from the master, or from an already scaled picture that is at least twice as large as itself:
200 pixels scaled from 1200 are as good as scaled from 4000.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from watcherd.imaging import colour
from watcherd.imaging.animate import animated, frames_of
from watcherd.imaging.encode import encode
from watcherd.imaging.finish import finish
from watcherd.imaging.geometry import Size, plan
from watcherd.imaging.master import Master, Task, develop, scaled
from watcherd.imaging.metadata import kept_of
from watcherd.imaging.tiff import Content
from watcherd.imaging.vips import clean, pyvips
from watcherd.model import ColourPolicy, Failed, Header, Incomplete, Reason, Rejected, Variant
from watcherd.naming import Mark
from watcherd.settings import LimitSettings

_PARENT_RATIO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One finished derivative."""

    variant: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """All derivatives that were asked for, what they took (seconds), and what people should know of them."""

    pictures: tuple[Picture, ...]
    decode_s: float
    encode_s: float
    notes: tuple[str, ...] = ()


def render(
    data: Content,
    header: Header,
    *,
    variants: Sequence[Variant],
    digest: bytes,
    limits: LimitSettings,
    tolerant: bool,
) -> Rendering | Incomplete | Rejected | Failed:
    """Make the variants of a content that `identify` has let through.

    `digest` is the SHA-256 of the content: it goes into each picture's mark. `tolerant` makes the best of a damaged
    picture, and says so in a note.
    """
    task = Task(data=data, header=header, variants=tuple(variants), limits=limits)
    started = perf_counter()
    master = develop(task, tolerant=tolerant)
    if not isinstance(master, Master):
        return master
    decoded = perf_counter()
    prints = _Prints(master)
    try:
        pictures = tuple(_picture(task, prints, variant, digest) for variant in task.variants)
    except MemoryError:
        return Failed(reason=Reason.OUT_OF_MEMORY, detail=f"no memory to encode variants of {header.pixels:,} pixels")
    except Exception as error:  # noqa: BLE001 - an encoder's failure is one source's, not the worker's
        return Failed(reason=Reason.DECODER_ERROR, detail=f"encoding failed: {clean(error)}")
    notes = tuple(dict.fromkeys(master.notes + tuple(prints.notes)))
    return Rendering(pictures=pictures, decode_s=decoded - started, encode_s=perf_counter() - decoded, notes=notes)


def _picture(task: Task, prints: "_Prints", variant: Variant, digest: bytes) -> Picture:
    mark = Mark(variant=variant.name, digest=digest, fingerprint=variant.fingerprint)
    if frames_of(task, variant) > 1:
        encoded, width, height = animated(task, variant, mark)
        return Picture(variant=variant.name, data=encoded, width=width, height=height)
    sizes = plan(*prints.master.source_size, variant)
    image = finish(prints.at(sizes.scaled, variant), variant, sizes)
    encoded = encode(image, variant, mark, kept_of(prints.master.image, variant))
    return Picture(variant=variant.name, data=encoded, width=image.width, height=image.height)


class _Prints:
    """The master in the tones and sizes that were needed so far."""

    def __init__(self, master: Master) -> None:
        self.master = master
        self.notes: list[str] = []
        self._made: dict[tuple[ColourPolicy, colour.Colour], list[pyvips.Image]] = {}

    def at(self, size: Size, variant: Variant) -> pyvips.Image:
        """The picture at a size, in the variant's tone; kept in memory for the smaller ones after it."""
        made = self._in_tone(variant)
        large_enough = [i for i in made if i.width >= _PARENT_RATIO * size[0] and i.height >= _PARENT_RATIO * size[1]]
        parent = min(large_enough, key=lambda i: i.width * i.height, default=made[0])
        if size == (parent.width, parent.height):
            return parent
        image = scaled(parent, size).copy_memory()
        made.append(image)
        return image

    def _in_tone(self, variant: Variant) -> list[pyvips.Image]:
        background = variant.background if colour.has_alpha(self.master.image) else (0, 0, 0)
        key = (variant.colour, background)
        if key not in self._made:
            self._made[key] = [self._toned(variant)]
        return self._made[key]

    def _toned(self, variant: Variant) -> pyvips.Image:
        image = self.master.image
        if variant.colour is ColourPolicy.SRGB or image.interpretation == "cmyk":
            image, note = colour.to_srgb(image)
            self.notes.extend([note] if note else [])
        toned = colour.over(image, variant.background)
        return toned if toned is self.master.image else toned.copy_memory()
