"""The decoder table: what is missing is named with the command that brings it."""

import subprocess
import sys

import pytest

from watcherd.imaging import decoders
from watcherd.imaging.decoders import DECODERS, Decoder, decoder_for, decoder_table
from watcherd.imaging.sniff import Kind
from watcherd.model import Reason, Rejected


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (Kind.HEIC, "heic pictures"),
        (Kind.JXL, "jxl pictures"),
        (Kind.RAW, "camera raw files"),
        (Kind.PDF, "PDF files"),
        (Kind.VIDEO, "videos"),
    ],
)
def test_a_missing_extra_is_named_with_its_command(kind: Kind, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_is_installed", lambda _: False)
    extra = "heif" if kind is Kind.HEIC else kind.value
    assert decoder_for(kind) == Rejected(
        reason=Reason.DECODER_MISSING,
        detail=f"{what} need an extra decoder: pip install 'watcherd[{extra}]'",
    )


def test_svg_is_refused_unless_it_is_allowed() -> None:
    made = decoder_for(Kind.SVG)
    assert isinstance(made, Rejected)
    assert made.reason is Reason.UNSUPPORTED
    assert "svg = true" in made.detail
    assert decoder_for(Kind.SVG, svg=True) is DECODERS[Kind.SVG]


def test_every_kind_has_its_row() -> None:
    assert set(DECODERS) == set(Kind)


def test_the_table_has_a_signed_63_bit_hash_that_follows_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = decoder_table()
    assert -(2**62) <= before < 2**62
    assert before == decoder_table()
    decoder_table.cache_clear()
    monkeypatch.setattr(decoders, "_version", lambda package: f"{package} 99")
    assert decoder_table() != before
    decoder_table.cache_clear()


def test_the_hash_follows_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    before = decoder_table()
    decoder_table.cache_clear()
    monkeypatch.setitem(DECODERS, Kind.JXL, Decoder(decoders.Engine.PILLOW, "JXL"))
    assert decoder_table() != before
    decoder_table.cache_clear()


def test_the_table_and_the_sniffer_load_no_decoder() -> None:
    """The daemon imports them; its start must stay cheap, and no decoder may run inside it."""
    code = (
        "import sys, watcherd.imaging.sniff, watcherd.imaging.decoders, watcherd.imaging.endings\n"
        "watcherd.imaging.decoders.decoder_table()\n"
        "heavy = {'pyvips', 'PIL', 'pillow_heif', 'pillow_jxl', 'rawpy', 'numpy', 'pypdfium2', 'av'}\n"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
