"""The memory estimate grows with what takes memory, and with nothing else."""

from dataclasses import replace

from tests.imaging.pictures import first_look, noise, saved
from watcherd.imaging.cost import Look, memory_bytes
from watcherd.model import PREVIEW, THUMBNAIL, Header, OutputFormat, Variant

ROWS = Look(width=15_000, height=10_000, frames=1, pixel_bytes=3, streams=True)
WHOLE = replace(ROWS, streams=False)
MIB = 1024 * 1024


def test_a_picture_that_streams_costs_a_fraction_of_one_that_does_not() -> None:
    assert memory_bytes(ROWS, [PREVIEW]) < 128 * MIB
    assert memory_bytes(WHOLE, [PREVIEW]) > 440 * MIB


def test_the_largest_variant_counts_once() -> None:
    one = memory_bytes(ROWS, [PREVIEW])
    assert memory_bytes(ROWS, [THUMBNAIL, PREVIEW]) == one
    assert memory_bytes(ROWS, [THUMBNAIL]) < one


def test_a_variant_of_the_full_size_costs_what_it_is() -> None:
    whole = Variant(name="whole", width=None, height=None)
    assert memory_bytes(ROWS, [whole]) > 15_000 * 10_000 * 12


def test_some_encoders_take_more_than_others() -> None:
    jpeg, avif, jxl = (
        memory_bytes(ROWS, [Variant(name="whole", width=None, height=None, format=form)])
        for form in (OutputFormat.JPEG, OutputFormat.AVIF, OutputFormat.JXL)
    )
    assert jpeg + 15_000 * 10_000 * 15 < avif < jxl


def test_a_canvas_larger_than_the_picture_counts() -> None:
    from_small = Look(width=10, height=10, frames=1, pixel_bytes=3, streams=True)
    upscaled = replace(PREVIEW, upscale=True)
    assert memory_bytes(from_small, [upscaled]) > memory_bytes(from_small, [PREVIEW]) + 10 * MIB


def test_progressive_jpegs_cost_more_than_baseline_ones_and_full_colour_more_than_halved() -> None:
    picture = noise(2400, 1800)
    costs = [
        header.memory_bytes
        for options in ({}, {"progressive": True}, {"progressive": True, "subsampling": "4:4:4"})
        if isinstance(header := first_look(saved(picture, "JPEG", **options)), Header)
    ]
    assert costs == sorted(set(costs))
