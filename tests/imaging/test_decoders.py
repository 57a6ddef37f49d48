"""The decoder table: what is missing is named with the command that brings it."""

import subprocess
import sys

import pytest

from watcherd.imaging import decoders
from watcherd.imaging.decoders import DECODERS, Decoder, decoder_for, decoder_table
from watcherd.imaging.sniff import Kind
from watcherd.model import Reason, Rejected


@pytest.mark.parametrize("kind", [Kind.JXL, Kind.RAW, Kind.PDF])
def test_a_missing_extra_is_named_with_its_command(kind: Kind) -> None:
    assert decoder_for(kind) == Rejected(
        reason=Reason.DECODER_MISSING,
        detail=f"{kind} pictures need an extra decoder: pip install 'watcherd[{kind}]'",
    )


def test_svg_is_refused() -> None:
    made = decoder_for(Kind.SVG)
    assert isinstance(made, Rejected)
    assert made.reason is Reason.UNSUPPORTED


def test_heic_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_is_installed", lambda module: module != "pillow_heif")
    made = decoder_for(Kind.HEIC)
    assert isinstance(made, Rejected)
    assert made.reason is Reason.DECODER_MISSING
    assert "pip install 'watcherd[heif]'" in made.detail


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
        "sys.exit(bool({'pyvips', 'PIL', 'pillow_heif'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
