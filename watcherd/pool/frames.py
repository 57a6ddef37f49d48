"""Frames: how the daemon and its workers (and the control socket) put messages on a stream socket.

Responsible for: the wire format, its bounds, and the typed messages between daemon and worker. Not responsible for
sockets: bytes and descriptor numbers go in, bytes and messages come out. Pure.

A frame is a 5-byte header (length of the body, number of descriptors beside it) and a body of JSON. JSON and not
pickle, because a decoder that has been taken over must not be able to send its supervisor code; bounded, so that it
cannot make it remember without end. Whatever breaks these rules is a `FrameError`, and its sender is ended.
"""

import json
import re
import struct
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, get_type_hints

from watcherd.model import Failed, Header, Ignored, Incomplete, Reason, Rejected, Rendered, Variant
from watcherd.settings import MAX_VARIANTS, LimitSettings

MAX_BODY_BYTES = 256 * 1024
MAX_DESCRIPTORS = MAX_VARIANTS
MAX_TEXT = 500
_PREFIX = struct.Struct("!IB")
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_INT63 = 1 << 63
_INT64 = 1 << 64
_DAY = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_INSTANT = re.compile(_DAY + r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]")


class FrameError(Exception):
    """The peer does not keep to the format."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message with the descriptors that came beside it, which are the receiver's to close."""

    body: dict[str, Any]
    descriptors: tuple[int, ...] = ()


def encode(body: Mapping[str, object], descriptors: int = 0) -> bytes:
    """The bytes of one frame."""
    text = _to_json(body).encode()
    if len(text) > MAX_BODY_BYTES or descriptors > MAX_DESCRIPTORS:
        raise FrameError(f"a frame of {len(text)} bytes and {descriptors} descriptors is too large to send")
    return _PREFIX.pack(len(text), descriptors) + text


class Decoder:
    """Collects what was read from one socket and gives out whole frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Add what one read brought. At most a frame's worth of unread descriptors is tolerated."""
        self._bytes += data
        self._descriptors.extend(descriptors)
        if len(self._descriptors) > MAX_DESCRIPTORS:
            raise FrameError(f"{len(self._descriptors)} descriptors at once")

    def frames(self) -> Iterator[Frame]:
        """Each whole frame that has arrived, in order."""
        while len(self._bytes) >= _PREFIX.size:
            length, count = _PREFIX.unpack_from(self._bytes)
            if length > MAX_BODY_BYTES or count > MAX_DESCRIPTORS:
                raise FrameError(f"a frame announces {length} bytes and {count} descriptors")
            end = _PREFIX.size + length
            if len(self._bytes) < end:
                return
            body = _parse(bytes(self._bytes[_PREFIX.size : end]))
            if count > len(self._descriptors):
                raise FrameError(f"a frame announces {count} descriptors and brought {len(self._descriptors)}")
            del self._bytes[:end]
            yield Frame(body, tuple(self._descriptors.popleft() for _ in range(count)))

    def abandon(self) -> tuple[int, ...]:
        """The descriptors that no frame has claimed, for the caller to close. Nothing more will be decoded."""
        left = tuple(self._descriptors)
        self._descriptors.clear()
        self._bytes.clear()
        return left


def _parse(text: bytes) -> dict[str, Any]:
    try:
        body = json.loads(text.decode())  # from bytes it would guess their encoding first
    except ValueError as error:
        raise FrameError(f"a frame is not JSON: {error}") from error
    except RecursionError as error:
        raise FrameError("a frame is nested too deeply") from error
    if not isinstance(body, dict):
        raise FrameError("a frame is not an object")
    return body


# --------------------------------------------------------------------------------------------- daemon to worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Look at the content in the descriptor beside this, and say `Identified` or `Ended`."""

    job: int
    variants: tuple[Variant, ...]
    limits: LimitSettings
    has_holes: bool
    tolerant: bool
    other_decoder: bool = False
    svg: bool = False

    def body(self) -> dict[str, object]:
        """The message as JSON takes it."""
        return {
            "type": "work",
            "job": self.job,
            "recipe": _recipe_text(self.variants, self.limits),
            "has_holes": self.has_holes,
            "tolerant": self.tolerant,
            "other_decoder": self.other_decoder,
            "svg": self.svg,
        }

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "Work":
        """The inverse of `body`, in the worker, which may believe its daemon."""
        variants, limits = _recipe(body["recipe"])
        return cls(
            job=body["job"],
            variants=variants,
            limits=limits,
            has_holes=body["has_holes"],
            tolerant=body["tolerant"],
            other_decoder=body["other_decoder"],
            svg=body["svg"],
        )


@lru_cache(maxsize=256)
def _recipe_text(variants: tuple[Variant, ...], limits: LimitSettings) -> str:
    """The same few recipes go out with every job: taking them apart each time was a fifth of the loop's work."""
    return _to_json({"variants": [asdict(variant) for variant in variants], "limits": asdict(limits)})


@lru_cache(maxsize=16)
def _recipe(text: str) -> tuple[tuple[Variant, ...], LimitSettings]:
    """The inverse, in the worker: nearly always the one before again."""
    body = json.loads(text)
    return tuple(_variant(variant) for variant in body["variants"]), LimitSettings(**body["limits"])


@cache
def _vocabularies() -> tuple[tuple[str, type[StrEnum]], ...]:
    """The fields of a variant that are words of a closed vocabulary."""
    types = get_type_hints(Variant).items()
    return tuple((name, kind) for name, kind in types if isinstance(kind, type) and issubclass(kind, StrEnum))


def _variant(body: dict[str, Any]) -> Variant:
    values = {field.name: body[field.name] for field in fields(Variant)}
    for name, kind in _vocabularies():
        values[name] = kind(values[name])
    values["background"] = tuple(values["background"])
    return Variant(**values)


def grant(job: int, variants: Sequence[str]) -> dict[str, object]:
    """Answer to `Identified`: make these."""
    return {"type": "grant", "job": job, "variants": list(variants)}


def release(job: int) -> dict[str, object]:
    """Answer to `Identified`: nothing to make; let go of it."""
    return {"type": "release", "job": job}


# --------------------------------------------------------------------------------------------- worker to daemon


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker stands. `missing_layers` names what the kernel did not give of its fence."""

    missing_layers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """What the content is; the worker waits for the answer."""

    job: int
    digest: bytes
    header: Header


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One picture of a `Rendered`; its bytes are in a sealed memfd beside the frame, in the same order."""

    variant: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The attempt is over in the worker. `digest` is None where the content was not hashed.

    `phash`, `dhash` (unsigned 64-bit) and `captured` come with `Rendered`; None and "" where they are not known.
    """

    job: int
    outcome: Rendered | Ignored | Incomplete | Rejected | Failed
    digest: bytes | None = None
    made: tuple[Made, ...] = ()
    decode_s: float = 0.0
    encode_s: float = 0.0
    phash: int | None = None
    dhash: int | None = None
    captured: str = ""
    notes: tuple[str, ...] = ()

    def body(self) -> dict[str, object]:
        """The message as JSON takes it."""
        outcome = self.outcome
        return {
            "type": "ended",
            "job": self.job,
            "outcome": type(outcome).__name__.lower(),
            "kind": outcome.kind if isinstance(outcome, Ignored) else "",
            "reason": outcome.reason.value if isinstance(outcome, Incomplete | Rejected | Failed) else "",
            "detail": outcome.detail[:MAX_TEXT] if isinstance(outcome, Incomplete | Rejected | Failed) else "",
            "digest": self.digest.hex() if self.digest else "",
            "made": [{"variant": m.variant, "width": m.width, "height": m.height} for m in self.made],
            "decode_s": self.decode_s,
            "encode_s": self.encode_s,
            "phash": self.phash,
            "dhash": self.dhash,
            "captured": self.captured,
            "notes": [note[:MAX_TEXT] for note in self.notes[:8]],
        }


FromWorker = Ready | Identified | Ended


def ready(missing_layers: Sequence[str]) -> dict[str, object]:
    """The body of `Ready`."""
    return {"type": "ready", "missing_layers": list(missing_layers)}


def identified(message: Identified) -> dict[str, object]:
    """The body of `Identified`."""
    return {"type": "identified", "job": message.job, "digest": message.digest.hex(), "header": asdict(message.header)}


def parse_from_worker(frame: Frame) -> FromWorker:
    """What a worker said, with nothing of it believed unchecked.

    Raises FrameError, and nothing else; the frame's descriptors are then still the caller's to close.
    """
    body = frame.body
    if frame.descriptors and body.get("type") != "ended":
        raise FrameError(f"{len(frame.descriptors)} descriptors beside a message that has none")
    match body.get("type"):
        case "ready":
            return Ready(missing_layers=tuple(_text(layer) for layer in _list(body, "missing_layers")))
        case "identified":
            return _parse_identified(body)
        case "ended":
            return _parse_ended(frame)
        case other:
            raise FrameError(f"a worker said {_text(other)!r}")


def _parse_identified(body: Mapping[str, Any]) -> Identified:
    header = body.get("header")
    if not isinstance(header, dict):
        raise FrameError("identified without a header")
    return Identified(
        job=_integer(body, "job"),
        digest=_digest(body) or _missing("digest"),
        header=Header(
            kind=_text(header.get("kind")),
            width=_integer(header, "width"),
            height=_integer(header, "height"),
            frames=_integer(header, "frames"),
            memory_bytes=_integer(header, "memory_bytes"),
        ),
    )


def _parse_ended(frame: Frame) -> Ended:
    body = frame.body
    made = tuple(_made(item) for item in _list(body, "made"))
    outcome = _outcome(body)
    if len(made) != len(frame.descriptors) or (made and not isinstance(outcome, Rendered)):
        raise FrameError(f"{len(made)} pictures with {len(frame.descriptors)} descriptors, {type(outcome).__name__}")
    return Ended(
        job=_integer(body, "job"),
        outcome=outcome,
        digest=_digest(body),
        made=made,
        decode_s=_seconds(body, "decode_s"),
        encode_s=_seconds(body, "encode_s"),
        phash=_hash(body, "phash"),
        dhash=_hash(body, "dhash"),
        captured=_instant(body, "captured"),
        notes=tuple(_text(note) for note in _list(body, "notes")),
    )


def _outcome(body: Mapping[str, Any]) -> Rendered | Ignored | Incomplete | Rejected | Failed:
    detail, reason = _text(body.get("detail")), _text(body.get("reason"))
    try:
        match body.get("outcome"):
            case "rendered":
                return Rendered()
            case "ignored":
                return Ignored(kind=_text(body.get("kind")))
            case "incomplete":
                return Incomplete(reason=Reason(reason), detail=detail)
            case "rejected":
                return Rejected(reason=Reason(reason), detail=detail)
            case "failed":
                return Failed(reason=Reason(reason), detail=detail)
            case _:
                raise FrameError("ended without an outcome")
    except ValueError as error:
        raise FrameError(f"ended with an unknown reason: {reason!r}") from error


def _made(item: object) -> Made:
    if not isinstance(item, dict):
        raise FrameError("a picture is not an object")
    return Made(variant=_text(item.get("variant")), width=_integer(item, "width"), height=_integer(item, "height"))


def _integer(body: Mapping[str, Any], key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _INT63:
        raise FrameError(f"{key} is not a number in range")
    return value


def _hash(body: Mapping[str, Any], key: str) -> int | None:
    value = body.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _INT64):
        raise FrameError(f"{key} is not a hash")
    return value


def _instant(body: Mapping[str, Any], key: str) -> str:
    value = _text(body.get(key))
    if value and not _INSTANT.fullmatch(value):
        raise FrameError(f"{key} is not an instant")
    return value


def _seconds(body: Mapping[str, Any], key: str) -> float:
    value = body.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
        raise FrameError(f"{key} is not a length of time")
    return float(value)


def _list(body: Mapping[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    if not isinstance(value, list) or len(value) > MAX_DESCRIPTORS:
        raise FrameError(f"{key} is not a short list")
    return value


def _text(value: object) -> str:
    """A short text without what would move a terminal's cursor or could not be encoded (lone surrogates)."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise FrameError("a text is missing or too long")
    return value if value.isprintable() else "".join(c if c.isprintable() else "?" for c in value)


def _digest(body: Mapping[str, Any]) -> bytes | None:
    text = _text(body.get("digest"))
    if not text:
        return None
    try:
        digest = bytes.fromhex(text)
    except ValueError as error:
        raise FrameError("a digest is not hexadecimal") from error
    return digest if len(digest) == 32 else _missing("digest")


def _missing(what: str) -> bytes:
    raise FrameError(f"{what} is missing or has the wrong length")
