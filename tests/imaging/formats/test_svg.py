"""SVG, where it is allowed: drawn at the size that is wanted, and whatever it asks for, nothing but itself."""

import io
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from tests.imaging.pictures import LIMITS, QUARTERS, SMALL, WHITE, corners, is_close, quarters, saved
from tests.imaging.test_hostile import bomb
from tests.pool.workshop import bench
from watcherd.imaging import Rendering, render_bytes
from watcherd.imaging.decode import identify
from watcherd.imaging.direct import NotRendered
from watcherd.imaging.formats.svg import survey
from watcherd.model import PREVIEW, Failed, Header, Incomplete, OutputFormat, Reason, Rejected, Rendered, Variant

PICTURE = (
    '<path fill="#e6141e" d="M0 0h80v60H0z"/><path fill="#1eb428" d="M80 0h80v60H80z"/>'
    '<path fill="#1428c8" d="M0 60h80v60H0z"/>'
)
SPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def svg(body: str = PICTURE, size: str = 'width="160" height="120"', head: str = "") -> bytes:
    return f"{head}<svg {SPACES} {size}>{body}</svg>".encode()


def embedded(picture: bytes, kind: str = "image/png") -> str:
    return f'<image width="160" height="120" xlink:href="data:{kind};base64,{b64encode(picture).decode()}"/>'


def drawn(data: bytes, *variants: Variant) -> list[Image.Image]:
    made = render_bytes(data, variants or (replace(SMALL, format=OutputFormat.PNG),), svg=True)
    assert isinstance(made, Rendering), made
    return [Image.open(io.BytesIO(picture.data)) for picture in made.pictures]


def refused(data: bytes, *, tolerant: bool = True) -> NotRendered:
    made = render_bytes(data, (SMALL,), svg=True, tolerant=tolerant)
    assert not isinstance(made, Rendering)
    return made


def test_it_is_refused_unless_it_is_allowed() -> None:
    made = render_bytes(svg())
    assert isinstance(made, Rejected)
    assert (made.reason, "svg = true" in made.detail) == (Reason.UNSUPPORTED, True)


def test_the_picture_stands_on_the_background() -> None:
    small, large, green = drawn(
        svg(), SMALL, Variant(name="l", width=900, height=900), replace(SMALL, name="g", background=(10, 200, 30))
    )
    assert (small.size, large.size) == ((64, 48), (160, 120))
    assert is_close(corners(small), QUARTERS)
    assert is_close(corners(green), (*QUARTERS[:3], (10, 200, 30)))


def test_it_is_drawn_at_the_size_that_is_wanted() -> None:
    """A line of one unit in 20,000 is still there at 200 pixels: nothing was drawn large and scaled down."""
    line = '<path d="M0 0L20000 20000" stroke="black" stroke-width="200"/>'
    data = svg(line, 'width="10000" height="10000" viewBox="0 0 20000 20000"')
    (picture,) = drawn(data, Variant(name="t", width=200, height=200, format=OutputFormat.PNG))
    assert picture.size == (200, 200)
    assert picture.convert("L").getpixel((100, 100)) < 90
    seen = identify(data, variants=(SMALL,), limits=LIMITS, has_holes=False, tolerant=False, svg=True)
    assert isinstance(seen, Header)
    assert (seen.width, seen.height) == (10_000, 10_000)
    assert seen.memory_bytes < 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ('viewBox="0 0 60 30"', (60, 30)),
        ('width="100%" height="100%" viewBox="0 0 60 30"', (60, 30)),
        ('width="1in" height="0.5in"', (64, 32)),
    ],
)
def test_its_size_is_what_it_says_in_whatever_unit(size: str, expected: tuple[int, int]) -> None:
    assert drawn(svg(size=size))[0].size == expected


def test_text_is_noted_as_a_worker_sees_no_fonts() -> None:
    made = render_bytes(svg(PICTURE + '<text x="4" y="100">words</text>'), (SMALL,), svg=True)
    assert isinstance(made, Rendering)
    assert made.notes == ("its text is drawn as boxes: a worker sees no fonts",)
    assert render_bytes(svg(), (SMALL,), svg=True).notes == ()  # type: ignore[union-attr]


def test_embedded_pictures_are_drawn() -> None:
    for container in ("PNG", "JPEG"):
        (picture,) = drawn(svg(embedded(saved(quarters(), container), f"image/{container.lower()}")))
        assert is_close(corners(picture), QUARTERS, within=20), container


# ---------------------------------------------------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ('width="20000" height="20000"', Reason.TOO_MANY_PIXELS),
        ('width="1000000" height="10"', Reason.SIDE_TOO_LONG),
        ('width="1e30" height="1e30"', Reason.DAMAGED),
        ('width="0" height="0"', Reason.DAMAGED),
    ],
)
def test_its_size_is_held_against_the_limits_before_it_is_drawn(size: str, reason: Reason) -> None:
    made = refused(svg(size=size))
    assert isinstance(made, Rejected)
    assert made.reason is reason


@pytest.mark.parametrize(
    "reference",
    [
        "file:///etc/passwd",
        "file://{path}",
        "{path}",
        "http://127.0.0.1:1/x.png",
        "//127.0.0.1/x.png",
    ],
)
def test_references_out_of_the_document_are_not_followed(
    reference: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("outside") / "red.png"
    Image.new("RGB", (160, 120), (255, 0, 0)).save(path)
    href = reference.format(path=path)
    (picture,) = drawn(svg(f'<image width="160" height="120" xlink:href="{href}" href="{href}"/>'))
    assert is_close(corners(picture), [WHITE] * 4, within=0)


def laughs(levels: int) -> str:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, levels))
    return f'<!DOCTYPE svg [<!ENTITY e0 "lol">{entities}]>'


def tenfold(level: int) -> str:
    return f'<g id="u{level}">' + f'<use xlink:href="#u{level - 1}"/>' * 10 + "</g>"


def filtered(step: str, count: int) -> bytes:
    steps = "".join(f'<{step} result="r{number}"/>' for number in range(count))
    whole = 'x="0" y="0" width="1" height="1"'
    picture = f'<filter id="f" {whole}>{steps}</filter><rect filter="url(#f)" fill="red" width="1200" height="1200"/>'
    return svg(picture, 'width="1200" height="1200"')


def outline(shape: str) -> bytes:
    return svg(f'<{shape}" fill="none" stroke="black"/>', 'width="1200" height="1200"')


def two_faced(small: bytes, large: bytes) -> str:
    """A JPEG in base64: the small one where percent signs are dropped, the large one where they are undone.

    The letters of each two %0A are then three bytes more in the comment at its beginning, which so ends earlier.
    """
    hidden = small[2:] + bytes(-len(small[2:]) % 3)
    comment = bytes(30) + hidden
    head = b"\xff\xd8\xff\xfe" + (2 + len(comment)).to_bytes(2)
    return b64encode(head).decode() + "%0A%0A" * (len(hidden) // 3) + b64encode(comment + large[2:]).decode()


TWO_FACED = two_faced(saved(quarters(), "JPEG"), saved(Image.new("L", (5100, 5100)), "JPEG"))


HOSTILE = {
    "flood of filters": filtered("feFlood", 600),
    "slow filters": filtered("feTurbulence", 300),
    "picture with percent signs": svg(f'<image href="data:image/jpeg;base64,{TWO_FACED}"/>'),
    "picture with strange letters": svg(embedded(saved(quarters(), "PNG")).replace("base64,", "base64,!")),
    "picture with a broken name": svg(embedded(bomb(60_000, 60_000)).replace("data:", "da&#10;ta:")),
    "entity bomb": svg("<desc>&e11;</desc>", head=laughs(12)),
    "entities of elements": svg("&e11;", head=laughs(12).replace('"lol"', "'<g/>'")),
    "external entity": svg("<desc>&x;</desc>", head='<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    "endless nesting": svg("<g>" * 100_000 + "</g>" * 100_000),
    "too many elements": svg("<g/>" * 250_001),
    "references without end": svg('<rect id="u0" width="9" height="9"/>' + "".join(map(tenfold, range(1, 7)))),
    "includes": svg('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="data:text/xml,%3Cg/%3E"/>'),
    "picture bomb": svg(embedded(bomb(60_000, 60_000))),
    "many pictures": svg(embedded(saved(Image.new("1", (4000, 4000)), "PNG")) * 2),
    "picture of a strange kind": svg(embedded(svg(), "image/svg+xml")),
    "picture that is not drawn": svg(embedded(saved(quarters(), "GIF"), "image/gif")),
    "damaged picture": svg(embedded(b"\x89PNG\r\n\x1a\n" + b"\1" * 99)),
    "hidden picture bomb": svg(embedded(bomb(60_000, 60_000)).replace("data:", "&#100;ata:")),
    "broken markup": svg("<g><g>"),
    "no svg": b"<?xml version='1.0'?><html><svg/></html>",
    "bytes": svg(f"<!--{'x' * (8 * 1024 * 1024)}-->"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_rejected_with_a_reason(name: str) -> None:
    made = refused(HOSTILE[name])
    assert isinstance(made, Rejected), made
    assert made.reason in {Reason.DAMAGED, Reason.UNSUPPORTED}
    assert len(made.detail) < 300
    assert made.detail.isascii()


def test_a_worker_survives_them_all_and_goes_on() -> None:
    with bench() as workers:
        workers.start()
        assert workers.ready().missing_layers == ()
        for job, data in enumerate([*HOSTILE.values(), svg()], start=1):
            ended, _ = workers.outcome(data, SMALL, job=job, svg=True, tolerant=True)
        assert ended.outcome == Rendered()
        ended, _ = workers.outcome(svg(PICTURE + "<text>words</text>"), SMALL, job=99, svg=True)
        assert ended.outcome == Rendered()
        assert len(ended.notes) == 1
        ended, _ = workers.outcome(svg(), SMALL, job=100)
        assert isinstance(ended.outcome, Rejected)


def test_the_one_with_two_faces_has_them() -> None:
    sizes = [Image.open(io.BytesIO(b64decode(face))).size for face in (TWO_FACED, unquote(TWO_FACED))]
    assert sizes == [(160, 120), (5100, 5100)]


@pytest.mark.parametrize(
    "data",
    [
        filtered("feFlood", 32),
        filtered("feTile", 32),
        outline('path d="M0 0' + "h1v1" * 250_000),
        outline('path d="M0 0' + "h1v1" * 550_000),
        outline('polygon points="' + "1 9 8 3 " * 60_000),
    ],
    ids=["floods", "tiles", "steps", "more steps", "polygon"],
)
def test_a_worker_takes_no_more_memory_than_was_estimated(data: bytes) -> None:
    seen = identify(data, variants=(PREVIEW,), limits=LIMITS, has_holes=False, tolerant=False, svg=True)
    assert isinstance(seen, Header)
    with bench() as workers:
        worker = workers.start()
        workers.ready()
        idle_bytes = most_resident_bytes(worker.pid)
        ended, _ = workers.outcome(data, PREVIEW, svg=True)
        assert ended.outcome == Rendered()
        taken_bytes = most_resident_bytes(worker.pid) - idle_bytes
    assert 32 * 1024 * 1024 < taken_bytes < seen.memory_bytes


def most_resident_bytes(pid: int) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_off_one_waits_and_is_then_rejected(part: float) -> None:
    data = svg()
    cut = data[: int(len(data) * part)]
    made = refused(cut, tolerant=False)
    assert isinstance(made, Incomplete), made
    assert made.reason is Reason.TRUNCATED
    assert isinstance(refused(cut), Rejected)


def test_what_it_consists_of_is_counted() -> None:
    found = survey(svg(PICTURE + embedded(saved(quarters(), "PNG")) * 2))
    assert (found.elements, found.embedded_pixels, found.has_text) == (6, 2 * 160 * 120, False)
    assert found.memory_bytes > 2 * 160 * 120 * 8
    found = survey(svg('<path d="M0 0h9"/><polygon points="1 2 3"/><feFlood/><feMerge><feMergeNode/></feMerge>'))
    assert (found.outline_bytes, found.longest_outline_bytes, found.filter_steps) == (11, 6, 2)


def test_any_damage_gets_an_answer() -> None:
    whole = svg(PICTURE + embedded(saved(quarters(32, 24), "PNG")))
    for at in range(0, len(whole), 37):
        data = whole[:at] + bytes(255 - byte for byte in whole[at : at + 3]) + whole[at + 3 :]
        made = render_bytes(data, (SMALL,), svg=True, tolerant=True)
        assert not isinstance(made, Failed | Incomplete)
