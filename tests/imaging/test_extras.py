"""The kinds that need an extra: right pixels, the right way up, no more decoded than needed, and bad files refused."""

import io
import struct
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest
from PIL import Image

from tests.imaging.extras import EXTRAS, dng, each_extra, needs, pdf, sample, video
from tests.imaging.pictures import (
    LIMITS,
    QUARTERS,
    SMALL,
    STORED,
    corners,
    first_look,
    is_close,
    noise,
    outcome,
    quarters,
    rendered,
)
from tests.pool.workshop import bench
from watcherd.imaging import decoders
from watcherd.imaging.decoders import decoder_for
from watcherd.imaging.opening import open_picture
from watcherd.imaging.render import Rendering
from watcherd.imaging.sniff import Kind, kind_of
from watcherd.model import Failed, Header, Ignored, Incomplete, Reason, Rejected, Rendered

BIG = replace(SMALL, name="big", width=320, height=240)
SIZE = (320, 240)


@each_extra
def test_each_kind_is_told_by_its_content_and_rendered(extra: str) -> None:
    data = sample(extra, quarters(*SIZE))
    assert kind_of(data[:65536], data[-32:], len(data)) == Kind(extra)
    header = first_look(data)
    assert isinstance(header, Header)
    assert (header.width, header.height) == SIZE
    for variant, size in ((SMALL, (64, 48)), (BIG, SIZE)):
        (made,) = rendered(data, variant)
        assert made.size == size
        assert is_close(corners(made), QUARTERS, within=30)


@each_extra
def test_each_kind_is_rendered_behind_the_fence(extra: str) -> None:
    """In a real worker: no file to open, no program to start, whatever the library wants at its first picture."""
    with bench() as workers:
        workers.start()
        missing = workers.ready().missing_layers
        assert "landlock_threads" not in missing
        for _ in range(2):
            ended, pictures = workers.outcome(sample(extra, quarters(*SIZE)), SMALL)
            assert ended.outcome == Rendered()
            assert is_close(corners(Image.open(io.BytesIO(pictures[0]))), QUARTERS, within=30)


@each_extra
def test_limits_hold_before_anything_is_decoded(extra: str) -> None:
    made = first_look(sample(extra, quarters(*SIZE)), limits=replace(LIMITS, max_pixels=320 * 240 - 1))
    assert isinstance(made, Rejected)
    assert made.reason is Reason.TOO_MANY_PIXELS
    assert f"{320 * 240:,}" in made.detail


@each_extra
def test_a_file_above_the_limit_is_rejected_with_the_number(extra: str) -> None:
    data = sample(extra, quarters(*SIZE))
    made = first_look(data, limits=replace(LIMITS, max_bytes=len(data) - 1))
    assert isinstance(made, Rejected)
    assert made.reason is Reason.TOO_MANY_BYTES
    assert f"{len(data):,} bytes" in made.detail


@each_extra
@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.95])
def test_cut_off_files_wait_and_then_get_an_answer(extra: str, part: float) -> None:
    data = sample(extra, noise(320, 240))
    cut = data[: int(len(data) * part)]
    assert isinstance(outcome(cut), Incomplete)
    assert isinstance(outcome(cut, tolerant=True), Rejected | Rendering)


@each_extra
def test_damage_anywhere_gets_an_answer(extra: str) -> None:
    whole = sample(extra, noise(160, 120))
    for number in range(24):
        data = bytearray(whole)
        at = (number * 7919) % (len(data) - 16)
        data[at : at + 8] = bytes(255 - byte for byte in data[at : at + 8])
        first, last = outcome(bytes(data)), outcome(bytes(data), tolerant=True)
        assert isinstance(first, Rendering | Ignored | Incomplete | Rejected | Failed)
        assert isinstance(last, Rendering | Ignored | Rejected | Failed)  # the last look does not wait for more


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_extra_is_named_with_its_command(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_is_installed", lambda _: False)
    made = decoder_for(Kind(extra))
    assert isinstance(made, Rejected)
    assert made.reason is Reason.DECODER_MISSING
    assert made.detail.endswith(f"need an extra decoder: pip install 'watcherd[{extra}]'")


HIDDEN = """
import sys
sys.modules.update(dict.fromkeys(("pillow_jxl", "rawpy", "pypdfium2", "av", "pillow_heif", "numpy")))
from watcherd.imaging.warm import warm_up
warm_up()
"""


def test_a_worker_starts_without_any_extra() -> None:
    assert subprocess.run([sys.executable, "-c", HIDDEN], check=False).returncode == 0


# ----------------------------------------------------------------------------------------------------------- JPEG XL


@needs("jxl")
@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_jxl_in_other_modes(mode: str) -> None:
    (made,) = rendered(sample("jxl", quarters(*SIZE, mode=mode)))
    grey = [(level,) * 3 for level in quarters(2, 2, mode="L").tobytes()]
    assert is_close(corners(made), QUARTERS if mode == "RGBA" else grey)


@needs("jxl")
@pytest.mark.parametrize("size", [(8, 8), (256, 256), (640, 480), (333, 77), (77, 333), (1920, 1080), (9000, 3)])
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jxl_is_read_from_its_header(size: tuple[int, int], *, container: bool) -> None:
    header = first_look(sample("jxl", quarters(*size), use_container=container, effort=1))
    assert isinstance(header, Header)
    assert (header.width, header.height) == size


@needs("jxl")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_packed_into_jxl_stands_upright(orientation: int, tmp_path: object) -> None:
    picture = quarters(*SIZE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture.transpose(STORED[orientation]) if orientation in STORED else picture
    file = f"{tmp_path}/a.jpg"
    stored.save(file, quality=95, exif=exif)
    with Image.open(file) as opened:
        data = sample("jxl", opened, lossless_jpeg=True)
    (made,) = rendered(data)
    assert made.size == (64, 48)
    assert is_close(corners(made), QUARTERS)


# -------------------------------------------------------------------------------------------------------- camera raw


@needs("raw")
@pytest.mark.parametrize(("orientation", "size"), [(1, SIZE), (3, SIZE), (6, SIZE[::-1]), (8, SIZE[::-1])])
@pytest.mark.parametrize("has_preview", [False, True])
def test_raw_stands_upright(orientation: int, size: tuple[int, int], *, has_preview: bool) -> None:
    upright = quarters(*size)
    stored = upright.transpose(STORED[orientation]) if orientation in STORED else upright
    data = dng(stored, preview=stored if has_preview else None, orientation=orientation)
    (made,) = rendered(data)
    assert is_close(corners(made), QUARTERS, within=30)


@needs("raw")
def test_a_preview_that_stands_upright_already_is_not_turned_again() -> None:
    upright = quarters(*SIZE[::-1])
    data = dng(upright.transpose(STORED[6]), preview=upright, orientation=6)
    (made,) = rendered(data)
    assert is_close(corners(made), QUARTERS, within=30)


@needs("raw")
def test_the_preview_is_used_where_it_is_large_enough() -> None:
    grey = Image.new("RGB", (160, 120), (90, 90, 90))
    data = dng(quarters(*SIZE), preview=grey)
    (small,) = rendered(data, replace(SMALL, width=160, height=160))
    (big,) = rendered(data, replace(SMALL, width=161, height=161))
    assert is_close(corners(small), [(90, 90, 90)] * 4)
    assert is_close(corners(big), QUARTERS, within=30)


@needs("raw")
def test_a_preview_with_black_bars_is_not_used() -> None:
    data = dng(quarters(*SIZE), preview=Image.new("RGB", (160, 160)))
    (made,) = rendered(data)
    assert is_close(corners(made), QUARTERS, within=30)


@needs("raw")
def test_raw_tells_when_it_was_taken() -> None:
    made = outcome(dng(quarters(*SIZE)))
    assert isinstance(made, Rendering)
    assert made.captured == "2008-05-30T15:56:01"


# --------------------------------------------------------------------------------------------------------------- PDF


@needs("pdf")
def test_only_the_first_page_is_drawn() -> None:
    data = pdf(quarters(*SIZE), save_all=True, append_images=[Image.new("RGB", SIZE)])
    (made,) = rendered(data)
    assert is_close(corners(made), QUARTERS)


@needs("pdf")
def test_an_enormous_page_has_a_sensible_size() -> None:
    header = first_look(pdf(Image.new("RGB", (300, 100)), resolution=1.0))
    assert isinstance(header, Header)
    assert (header.width, header.height) == (4096, 1365)


@needs("pdf")
def test_a_page_is_drawn_no_larger_than_needed() -> None:
    data = pdf(quarters(2000, 1000))
    image = open_picture(Kind.PDF, decoders.DECODERS[Kind.PDF], data, shrink=10.0, strict=True)
    assert (image.width, image.height) == (200, 100)


# ------------------------------------------------------------------------------------------------------------- video


@needs("video")
@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "mpeg4"), ("mov", "mjpeg"), ("matroska", "mpeg4"), ("avi", "mpeg4"), ("webm", "libvpx"), ("3gp", "h263")],
)
def test_each_container_is_told_and_shown(container: str, codec: str) -> None:
    size = (352, 288) if codec == "h263" else SIZE
    try:
        data = video(quarters(*size), container, codec)
    except (ValueError, OSError) as error:
        pytest.skip(f"this FFmpeg does not write it: {error}")
    assert kind_of(data[:65536]) is Kind.VIDEO
    (made,) = rendered(data)
    assert is_close(corners(made), QUARTERS, within=30)


UPRIGHT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
TURNED = {  # what the container says (ISO 14496-12, 8.3.2), and EXIF's word for the same
    6: (0, 1, -1, 0),
    3: (-1, 0, 0, -1),
    8: (0, -1, 1, 0),
}


@needs("video")
@pytest.mark.parametrize("orientation", TURNED)
def test_a_phone_held_upright_gives_an_upright_frame(orientation: int) -> None:
    upright = quarters(*SIZE) if orientation == 3 else quarters(*SIZE[::-1])
    data = video(upright.transpose(STORED[orientation]))
    a, b, c, d = (number << 16 for number in TURNED[orientation])
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    at = data.rfind(UPRIGHT)  # the track's; the whole film's comes before it
    (made,) = rendered(data[:at] + turned + data[at + len(turned) :])
    assert (made.width < made.height) == (upright.width < upright.height)
    assert is_close(corners(made), QUARTERS, within=30)


@needs("video")
def test_a_video_with_sound_is_shown_behind_the_fence() -> None:
    with bench() as workers:
        workers.start()
        workers.ready()
        ended, _ = workers.outcome(video(quarters(*SIZE), has_sound=True), SMALL)
    assert ended.outcome == Rendered()


@needs("video")
def test_a_video_that_begins_black_shows_what_comes_then() -> None:
    (made,) = rendered(video(quarters(*SIZE), black_frames=10))
    assert is_close(corners(made), QUARTERS, within=30)


@needs("video")
def test_a_video_that_stays_black_is_shown_black() -> None:
    (made,) = rendered(video(Image.new("RGB", SIZE)))
    assert is_close(corners(made), [(0, 0, 0)] * 4)


@needs("video")
def test_pixels_are_made_square() -> None:
    header = first_look(video(quarters(*SIZE), sample_aspect_ratio=Fraction(3, 2)))
    assert isinstance(header, Header)
    assert (header.width, header.height) == (480, 240)
    (made,) = rendered(video(quarters(*SIZE), sample_aspect_ratio=Fraction(3, 2)))
    assert made.size == (64, 32)


@needs("video")
def test_codecs_that_are_not_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from watcherd.imaging.formats import video as module  # noqa: PLC0415

    monkeypatch.setattr(module, "_CODECS", frozenset())
    made = first_look(video(quarters(*SIZE)))
    assert isinstance(made, Rejected)
    assert made.reason is Reason.UNSUPPORTED
    assert "mpeg4" in made.detail


@needs("video")
def test_sound_alone_is_no_picture() -> None:
    made = first_look(b"\x1aE\xdf\xa3" + bytes(100), tolerant=True)
    assert isinstance(made, Rejected)


def test_all_extras_are_in_the_table() -> None:
    extras = {decoder.extra for decoder in decoders.DECODERS.values() if decoder.extra}
    assert extras == {"heif", *EXTRAS}
