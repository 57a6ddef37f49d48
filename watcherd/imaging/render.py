"""One decode, many variants.

Responsible for: the way from an identified content to finished derivatives.
Not responsible for: decoding (`master.py`), sizes (`geometry.py`), colour, encoding, files.

Every variant is made from the master, or from an already scaled picture that is at least twice as large as itself:
200 pixels scaled from 1200 are as good as scaled from 4000. The smallest of them all is hashed perceptually.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from watcherd.imaging import colour
from watcherd.imaging.animate import animated, frames_of
from watcherd.imaging.content import Content
from watcherd.imaging.decoders import OTHERS
from watcherd.imaging.encode import encode
from watcherd.imaging.exif import captured_at
from watcherd.imaging.finish import finish
from watcherd.imaging.geometry import Size, plan
from watcherd.imaging.master import Master, Task, develop, scaled
from watcherd.imaging.metadata import blob_of, kept_of
from watcherd.imaging.phash import hashes
from watcherd.imaging.sniff import Kind
from watcherd.imaging.unsupported import UnsupportedFormError
from watcherd.imaging.vips import clean, excuse, pyvips, shape_of
from watcherd.model import ColourPolicy, Failed, Header, Incomplete, OutputFormat, Reason, Rejected, Variant
from watcherd.naming import Mark
from watcherd.settings import LimitSettings

_PARENT_RATIO = 2
_WHITE = (255, 255, 255)
_LEAST_HASHED_SIDE = 64
_TIFF_FORMS = frozenset((Kind.TIFF, Kind.RAW))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One finished derivative."""

    variant: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """All derivatives that were asked for, what they took (seconds), and what people should know of them.

    `phash`, `dhash`: of the whole source, upright and on white, unsigned 64-bit (see `phash.py`). `captured`: when it
    was taken, in the camera's local time, as "2008-05-30T15:56:01"; "" where it does not say.
    """

    pictures: tuple[Picture, ...]
    decode_s: float
    encode_s: float
    phash: int
    dhash: int
    captured: str = ""
    notes: tuple[str, ...] = ()


def render(
    data: Content,
    header: Header,
    *,
    variants: Sequence[Variant],
    digest: bytes,
    limits: LimitSettings,
    tolerant: bool,
    other_decoder: bool = False,
) -> Rendering | Incomplete | Rejected | Failed:
    """Make the variants of a content that `identify` has let through.

    `digest` is the SHA-256 of the content: it goes into each picture's mark. `tolerant` makes the best of a damaged
    picture, and says so in a note. `other_decoder` as in `identify`.
    """
    task = Task(data=data, header=header, variants=tuple(variants), limits=limits, other_decoder=other_decoder)
    started = perf_counter()
    master = develop(task, tolerant=tolerant)
    if not isinstance(master, Master):
        return master
    decoded = perf_counter()
    prints = _Prints(master)
    try:
        pictures = _pictures(task, prints, digest)
        alike = hashes(prints.smallest())
    except Exception as error:  # noqa: BLE001 - an encoder's failure is one source's, not the worker's
        return _not_encoded(task, error)
    return Rendering(
        pictures=pictures,
        decode_s=decoded - started,
        encode_s=perf_counter() - decoded,
        phash=alike.phash,
        dhash=alike.dhash,
        captured=_captured(task, master),
        notes=_notes(task, prints),
    )


def _not_encoded(task: Task, error: Exception) -> Rejected | Failed:
    excuse(error)
    if isinstance(error, MemoryError):
        return Failed(reason=Reason.OUT_OF_MEMORY, detail=f"no memory to encode {task.header.pixels:,} pixels")
    if isinstance(error, UnsupportedFormError):
        return Rejected(reason=Reason.DECODER_MISSING, detail=clean(error))
    return Failed(reason=Reason.DECODER_ERROR, detail=f"encoding failed: {clean(error)}")


def _notes(task: Task, prints: "_Prints") -> tuple[str, ...]:
    """Each once: of the decoding, of the colours, and of who did it."""
    other = OTHERS.get(task.kind) if task.other_decoder else None
    by_whom = (f"read by {other.engine}, as the usual decoder did not end well",) if other else ()
    return tuple(dict.fromkeys((*prints.master.notes, *prints.notes, *by_whom)))


def _captured(task: Task, master: Master) -> str:
    date = captured_at(blob_of(master.image, "exif-data"))
    return captured_at(task.data) if not date and task.kind in _TIFF_FORMS else date


def _pictures(task: Task, prints: "_Prints", digest: bytes) -> tuple[Picture, ...]:
    """In the order of the variants, the largest made first: the smaller ones are then scaled from the next larger."""
    sizes = {variant.name: plan(*prints.master.source_size, variant).scaled for variant in task.variants}
    by_size = sorted(task.variants, key=lambda variant: _pixels(sizes[variant.name]), reverse=True)
    made = {variant.name: _picture(task, prints, variant, digest) for variant in by_size}
    return tuple(made[variant.name] for variant in task.variants)


def _picture(task: Task, prints: "_Prints", variant: Variant, digest: bytes) -> Picture:
    mark = Mark(variant=variant.name, digest=digest, fingerprint=variant.fingerprint)
    if frames_of(task, variant) > 1:
        encoded, width, height = animated(task, variant, mark)
        return Picture(variant=variant.name, data=encoded, width=width, height=height)
    sizes = plan(*prints.master.source_size, variant)
    image = finish(prints.at(sizes.scaled, variant), variant, sizes)
    width, height, bands = shape_of(image)
    encoded = encode(image, variant, mark, kept_of(prints.master.image, variant, bands=bands))
    return Picture(variant=variant.name, data=encoded, width=width, height=height)


class _Prints:
    """The master in the tones and sizes that were needed so far."""

    def __init__(self, master: Master) -> None:
        self.master = master
        self.notes: list[str] = []
        self._made: dict[tuple[ColourPolicy, colour.Colour], dict[Size, pyvips.Image]] = {}

    def at(self, size: Size, variant: Variant) -> pyvips.Image:
        """The picture at a size, in the variant's tone; kept in memory for the smaller ones after it."""
        keeps = variant.colour is ColourPolicy.KEEP and variant.format is not OutputFormat.JXL  # it takes no profile
        policy = ColourPolicy.KEEP if keeps else ColourPolicy.SRGB
        made = self._in_tone(policy, variant.background)
        if size not in made:
            enough = [has for has in made if has[0] >= _PARENT_RATIO * size[0] and has[1] >= _PARENT_RATIO * size[1]]
            parent = min(enough, key=_pixels, default=next(iter(made)))
            made[size] = scaled(made[parent], size).copy_memory()
        return made[size]

    def smallest(self) -> pyvips.Image:
        """The smallest one of the whole picture in sRGB on white that still shows something."""
        made = self._in_tone(ColourPolicy.SRGB, _WHITE)
        telling = [size for size in made if min(size) >= _LEAST_HASHED_SIDE]
        return made[min(telling, key=_pixels, default=next(iter(made)))]

    def _in_tone(self, policy: ColourPolicy, background: colour.Colour) -> dict[Size, pyvips.Image]:
        """The master comes first."""
        key = (policy, background if colour.has_alpha(self.master.image) else (0, 0, 0))
        if key not in self._made:
            toned = self._toned(policy, background)
            self._made[key] = {shape_of(toned)[:2]: toned}
        return self._made[key]

    def _toned(self, policy: ColourPolicy, background: colour.Colour) -> pyvips.Image:
        image = self.master.image
        if policy is ColourPolicy.SRGB or image.interpretation == "cmyk":
            image, note = colour.to_srgb(image)
            self.notes.extend([note] if note else [])
        toned = colour.over(image, background)
        return toned if toned is self.master.image else toned.copy_memory()


def _pixels(size: Size) -> int:
    return size[0] * size[1]
