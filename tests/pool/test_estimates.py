"""The memory estimates against what a worker really takes: too low is what they must never be."""

import pytest

from tests.bench.estimates import KINDS, drawn, measured

MEGAPIXELS = 4.0
TIGHTEST = ("JPEG, progressive 4:4:4", "PNG, interlaced", "GIF", "AVIF", "BMP")
TIGHTEST_BY_OTHERS = ("JPEG, progressive 4:4:4", "PNG with alpha", "WebP", "GIF", "AVIF")


@pytest.mark.parametrize("kind", TIGHTEST)
def test_no_picture_takes_more_memory_than_its_header_lets_expect(kind: str) -> None:
    one = measured(kind, KINDS[kind](drawn(MEGAPIXELS)))
    print(f"{kind}: {one.estimate >> 20} MiB estimated, {one.peak >> 20} MiB taken")

    assert one.peak <= one.estimate < 5 * one.peak


@pytest.mark.parametrize("kind", TIGHTEST_BY_OTHERS)
def test_nor_does_it_where_another_decoder_than_usual_reads_it(kind: str) -> None:
    one = measured(kind, KINDS[kind](drawn(MEGAPIXELS)), other_decoder=True)
    print(f"{kind}: {one.estimate >> 20} MiB estimated, {one.peak >> 20} MiB taken")

    assert one.peak <= one.estimate < 5 * one.peak
