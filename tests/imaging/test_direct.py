"""The library's functions: a picture in, pictures out, and no exception for what is wrong with a picture."""

import io
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import watcherd.imaging
from tests.imaging.pictures import LIMITS, QUARTERS, SMALL, corners, is_close, quarters, saved
from watcherd.imaging import Rendering, render_bytes, render_file
from watcherd.model import PREVIEW, Failed, Ignored, Incomplete, Reason, Rejected

DATA = saved(quarters(800, 600), "JPEG", quality=90)


def test_bytes_become_the_default_variants() -> None:
    made = render_bytes(DATA)
    assert isinstance(made, Rendering)
    assert [(p.variant, p.width, p.height) for p in made.pictures] == [("thumbnail", 200, 150), ("preview", 800, 600)]
    assert is_close(corners(Image.open(io.BytesIO(made.pictures[0].data))), QUARTERS, within=20)


def test_pictures_come_in_the_order_of_the_variants() -> None:
    made = render_bytes(DATA, (PREVIEW, SMALL))
    assert isinstance(made, Rendering)
    assert [picture.variant for picture in made.pictures] == ["preview", "small"]


def test_a_file_is_told_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(DATA)
    for name in (path, str(path), str(path).encode()):
        made = render_file(name, (SMALL,))
        assert isinstance(made, Rendering)
        assert made.phash == render_bytes(DATA, (SMALL,)).phash  # type: ignore[union-attr]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    made = render_file(path)
    assert isinstance(made, Rejected)
    assert made.reason is Reason.TOO_MANY_BYTES
    with pytest.raises(FileNotFoundError):
        render_file(tmp_path / "none")


def test_what_is_wrong_is_returned() -> None:
    assert render_bytes(b"hello") == Ignored(kind="no_picture")
    assert isinstance(render_bytes(DATA[:-3000]), Incomplete)
    assert isinstance(render_bytes(DATA[:-300], tolerant=True), Rendering | Rejected)
    assert isinstance(render_bytes(DATA, limits=replace(LIMITS, max_pixels=1)), Rejected)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"8BPS", b"\0\0\0\x18ftypisom"]),
)
@settings(max_examples=60)
def test_any_bytes_get_an_answer(data: bytes, start: bytes) -> None:
    assert isinstance(render_bytes(start + data, (SMALL,)), Rendering | Ignored | Incomplete | Rejected | Failed)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "IMG_1.JPG").write_bytes(DATA)
    monkeypatch.chdir(tmp_path)
    lines = (watcherd.imaging.__doc__ or "").splitlines()
    example = textwrap.dedent("\n".join(line for line in lines if line.startswith("    ")))
    exec(compile(example, "example", "exec"), {})  # noqa: S102  our own documentation
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in out[:3]] == [
        ["thumbnail", "200", "150"],
        ["preview", "800", "600"],
        ["square", "400", "300"],
    ]
    assert out[3].startswith("looks like ")
    assert out[3].endswith("nobody knows when")


def test_importing_the_room_loads_no_decoder() -> None:
    code = "import sys, watcherd.imaging; sys.exit(bool({'pyvips', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError):
        _ = watcherd.imaging.nothing_of_that_name
