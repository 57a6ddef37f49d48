"""Frames: what goes in comes out, and whatever else comes is a FrameError and nothing but that."""

import json
import os
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.places import no_leak
from tests.strategies import DIGESTS, VARIANT_NAMES
from watcherd.model import (
    Failed,
    Fit,
    Header,
    Ignored,
    Incomplete,
    OutputFormat,
    Reason,
    Rejected,
    Rendered,
    Variant,
)
from watcherd.pool.frames import (
    MAX_BODY_BYTES,
    MAX_DESCRIPTORS,
    MAX_TEXT,
    Decoder,
    Ended,
    Frame,
    FrameError,
    Identified,
    Made,
    Ready,
    Work,
    encode,
    identified,
    parse_from_worker,
    ready,
)
from watcherd.settings import LimitSettings

COUNTS = st.integers(min_value=0, max_value=2**63 - 1)
TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=MAX_TEXT).filter(
    str.isprintable
)
SECONDS = st.floats(min_value=0, max_value=1e8)
HASHES = st.integers(min_value=0, max_value=2**64 - 1)
INSTANTS = st.datetimes().map(lambda instant: instant.replace(microsecond=0).isoformat())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(st.text(max_size=8), JSON, max_size=4)
REASONS = st.sampled_from(Reason)
UNRENDERED = (
    st.builds(Ignored, kind=TEXTS)
    | st.builds(Incomplete, reason=REASONS, detail=TEXTS)
    | st.builds(Rejected, reason=REASONS, detail=TEXTS)
    | st.builds(Failed, reason=REASONS, detail=TEXTS)
)
MADE = st.builds(Made, variant=VARIANT_NAMES, width=COUNTS, height=COUNTS)
ENDED = st.builds(
    Ended,
    job=COUNTS,
    outcome=UNRENDERED,
    digest=st.none() | DIGESTS,
    decode_s=SECONDS,
    encode_s=SECONDS,
    phash=st.none() | HASHES,
    dhash=st.none() | HASHES,
    captured=st.just("") | INSTANTS,
    notes=st.lists(TEXTS, max_size=8).map(tuple),
)
RENDERED = st.builds(
    replace,
    ENDED,
    outcome=st.just(Rendered()),
    digest=DIGESTS,
    made=st.lists(MADE, max_size=MAX_DESCRIPTORS).map(tuple),
)
HEADERS = st.builds(Header, kind=TEXTS, width=COUNTS, height=COUNTS, frames=COUNTS, memory_bytes=COUNTS)
IDENTIFIED = st.builds(Identified, job=COUNTS, digest=DIGESTS, header=HEADERS)
READY = st.builds(Ready, missing_layers=st.lists(TEXTS, max_size=8).map(tuple))
MESSAGES = ENDED | RENDERED | IDENTIFIED | READY


def body_of(message: Ready | Identified | Ended) -> dict[str, Any]:
    match message:
        case Ready():
            return ready(message.missing_layers)
        case Identified():
            return identified(message)
    return message.body()


def over_the_wire(body: dict[str, Any], descriptors: tuple[int, ...] = ()) -> Frame:
    decoder = Decoder()
    decoder.feed(encode(body, len(descriptors)), descriptors)
    (frame,) = decoder.frames()
    return frame


def said(body: dict[str, Any], descriptors: tuple[int, ...] = ()) -> Ready | Identified | Ended:
    return parse_from_worker(over_the_wire(body, descriptors))


# ------------------------------------------------------------------------------------------------------- round trips


@given(st.lists(st.tuples(BODIES, st.integers(0, 3)), max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(
    sent: list[tuple[dict[str, Any], int]], cuts: list[int]
) -> None:
    numbers = iter(range(1_000))
    decoder, got = Decoder(), []
    expected = [(json.dumps(body), tuple(next(numbers) for _ in range(count))) for body, count in sent]
    for (body, count), (_, descriptors) in zip(sent, expected, strict=True):
        data, first = encode(body, count), True
        for cut in [*cuts, MAX_BODY_BYTES]:
            decoder.feed(data[:cut], descriptors if first else ())
            got += [(json.dumps(frame.body), frame.descriptors) for frame in decoder.frames()]
            data, first = data[cut:], False
    assert got == expected
    assert decoder.abandon() == ()


@given(MESSAGES)
def test_what_a_worker_says_is_understood(message: Ready | Identified | Ended) -> None:
    pictures = tuple(range(100, 100 + len(message.made))) if isinstance(message, Ended) else ()
    assert said(body_of(message), pictures) == message


@given(
    st.builds(
        Variant,
        name=VARIANT_NAMES,
        width=st.none() | st.integers(1, 65_500),
        height=st.integers(1, 65_500),
        fit=st.sampled_from(Fit),
        format=st.sampled_from(OutputFormat),
        background=st.tuples(*[st.integers(0, 255)] * 3),
    ),
    st.booleans(),
)
def test_what_the_daemon_says_is_understood(variant: Variant, has_holes: bool) -> None:
    work = Work(job=7, variants=(variant,), limits=LimitSettings(), has_holes=has_holes, tolerant=not has_holes)
    parsed = Work.parse(over_the_wire(work.body(), (3,)).body)
    assert parsed == work
    assert parsed.variants[0].fingerprint == variant.fingerprint


def test_details_and_notes_are_cut_to_what_the_daemon_takes() -> None:
    ended = Ended(job=1, outcome=Failed(reason=Reason.DECODER_ERROR, detail="x" * 9_999), notes=("y" * 9_999,) * 20)
    got = said(ended.body())
    assert isinstance(got, Ended)
    assert got.outcome == Failed(reason=Reason.DECODER_ERROR, detail="x" * MAX_TEXT)
    assert got.notes == ("y" * MAX_TEXT,) * 8


# ----------------------------------------------------------------------------------------------------- hostile bytes


@given(st.lists(st.binary(max_size=64) | st.builds(encode, BODIES, st.integers(0, 3)), max_size=6))
def test_any_bytes_are_frames_or_a_frame_error(chunks: list[bytes]) -> None:
    decoder = Decoder()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            assert all(isinstance(frame.body, dict) for frame in decoder.frames())
    except FrameError:
        with pytest.raises(FrameError):  # it does not recover: what follows could be anything
            list(decoder.frames())


def framed(text: bytes, descriptors: int = 0) -> bytes:
    return struct.pack("!IB", len(text), descriptors) + text


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!IB", MAX_BODY_BYTES + 1, 0),
        struct.pack("!IB", 2, MAX_DESCRIPTORS + 1) + b"{}",
        framed(b"{}", descriptors=1),
        framed(b""),
        framed(b"[]"),
        framed(b"{"),
        framed(b'{"a":1}x'),
        framed(b"\xff\xfe"),
        framed(b"[" * 100_000),
        framed(b'{"a":' * 30_000),
        framed(b'{"job":' + b"9" * 10_000 + b"}"),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_malformed_frames_are_frame_errors(data: bytes) -> None:
    decoder = Decoder()
    decoder.feed(data)
    with pytest.raises(FrameError):
        list(decoder.frames())


def test_an_announced_length_is_judged_before_its_bytes_are_awaited() -> None:
    decoder = Decoder()
    decoder.feed(b"\xff\xff\xff\xff\x00")
    with pytest.raises(FrameError):
        list(decoder.frames())


@pytest.mark.parametrize(("text", "descriptors"), [("x" * MAX_BODY_BYTES, 0), ("", MAX_DESCRIPTORS + 1)])
def test_what_nobody_would_take_is_not_sent(text: str, descriptors: int) -> None:
    with pytest.raises(FrameError):
        encode({"text": text}, descriptors)


@given(BODIES, st.sampled_from(["ready", "identified", "ended", "work"]), st.booleans())
def test_any_body_is_a_message_or_a_frame_error(body: dict[str, Any], kind: str, with_descriptor: bool) -> None:
    frame = Frame(body | {"type": kind}, (5,) if with_descriptor else ())
    with pytest.raises(FrameError):
        parse_from_worker(frame)


@given(MESSAGES, st.data())
def test_a_message_with_one_thing_wrong_is_a_message_or_a_frame_error(
    message: Ready | Identified | Ended, data: st.DataObject
) -> None:
    body = json.loads(json.dumps(body_of(message)))
    where = body
    if isinstance(body.get("header"), dict) and data.draw(st.booleans()):
        where = body["header"]
    elif body.get("made") and data.draw(st.booleans()):
        where = body["made"][0]
    where[data.draw(st.sampled_from(sorted(where)))] = data.draw(JSON)
    descriptors = tuple(range(len(body["made"]))) if isinstance(body.get("made"), list) else ()
    refusal = ""
    try:
        parse_from_worker(Frame(body, descriptors))
    except FrameError as error:
        refusal = str(error)
    assert len(refusal.encode()) < 2_000


@pytest.mark.parametrize("kind", ["ready", "identified"])
def test_descriptors_beside_a_message_that_has_none_are_refused(kind: str) -> None:
    """Nobody would close them: a worker could use up all that the daemon may have."""
    header = Header(kind="jpeg", width=1, height=1, frames=1, memory_bytes=1)
    body = ready(()) if kind == "ready" else identified(Identified(job=1, digest=bytes(32), header=header))
    parse_from_worker(Frame(body))
    with pytest.raises(FrameError):
        parse_from_worker(Frame(body, (9,)))


def test_pictures_and_descriptors_are_as_many() -> None:
    ended = Ended(job=1, outcome=Rendered(), digest=bytes(32), made=(Made(variant="thumbnail", width=1, height=1),))
    for descriptors in ((), (8, 9)):
        with pytest.raises(FrameError):
            parse_from_worker(Frame(ended.body(), descriptors))


def test_pictures_of_what_was_not_rendered_are_refused() -> None:
    ended = Ended(job=1, outcome=Ignored(kind="text"), made=(Made(variant="thumbnail", width=1, height=1),))
    with pytest.raises(FrameError):
        parse_from_worker(Frame(ended.body(), (8,)))


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-1", "1e300", "true", '"1"', "null"])
def test_lengths_of_time_are_sensible_numbers(seconds: str) -> None:
    body = Ended(job=1, outcome=Ignored(kind="text")).body() | {"decode_s": json.loads(seconds)}
    with pytest.raises(FrameError):
        parse_from_worker(Frame(body))


@pytest.mark.parametrize("value", [-1, 2**64, 1.0, True, "00", [1]])
def test_hashes_are_unsigned_numbers_of_64_bits(value: object) -> None:
    for key in ("phash", "dhash"):
        with pytest.raises(FrameError):
            said(Ended(job=1, outcome=Ignored(kind="text")).body() | {key: value})


@pytest.mark.parametrize(
    "value",
    [
        "2008-05-30",
        "2008-05-30 15:56:01",
        "2008-13-30T15:56:01",
        "2008-05-30T25:56:01",
        "2008-05-30T15:56:01Z",
        5,
        None,
    ],
)
def test_captured_is_an_instant_or_nothing(value: object) -> None:
    with pytest.raises(FrameError):
        said(Ended(job=1, outcome=Ignored(kind="text")).body() | {"captured": value})


@pytest.mark.parametrize("text", ["\ud800", "\x1b[2J", "a\nb", "\u202e", "\x00"])
def test_texts_can_be_encoded_and_move_no_cursor(text: str) -> None:
    """A lone surrogate would be an exception in the ledger and in the log; control characters fool a terminal."""
    got = said(Ended(job=1, outcome=Ignored(kind=text), notes=(text,)).body())
    assert isinstance(got, Ended)
    assert isinstance(got.outcome, Ignored)
    assert got.outcome.kind == got.notes[0] == "".join(c if c.isprintable() else "?" for c in text)
    assert got.outcome.kind.encode().isascii()


# ------------------------------------------------------------------------------------------------------- descriptors


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=4))
def test_no_descriptor_is_ever_lost(frames: list[tuple[int, int]]) -> None:
    """Announced as `claimed`, brought as `brought`: each ends in a frame or with `abandon`, exactly once."""
    decoder, given_out, fed = Decoder(), [], 0
    try:
        for claimed, brought in frames:
            descriptors = range(fed, fed + brought)
            fed += brought
            decoder.feed(encode({}, claimed), descriptors)
            given_out += [number for frame in decoder.frames() for number in frame.descriptors]
    except FrameError:
        pass
    assert [*given_out, *decoder.abandon()] == list(range(fed))
    assert decoder.abandon() == ()


def test_more_descriptors_than_a_frame_may_have_are_refused_and_still_not_lost() -> None:
    decoder = Decoder()
    decoder.feed(b"", range(MAX_DESCRIPTORS))
    with pytest.raises(FrameError):
        decoder.feed(b"", [99])
    assert decoder.abandon() == (*range(MAX_DESCRIPTORS), 99)


def test_real_descriptors_of_a_broken_frame_can_be_closed() -> None:
    with no_leak():
        decoder = Decoder()
        decoder.feed(framed(b"not JSON", descriptors=2), [os.memfd_create("a"), os.memfd_create("b")])
        with pytest.raises(FrameError):
            list(decoder.frames())
        for descriptor in decoder.abandon():
            os.close(descriptor)
