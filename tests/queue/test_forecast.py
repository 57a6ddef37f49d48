"""What a backlog will cost."""

import pytest

from watcherd.queue.forecast import Experience, forecast

PHOTO = 2_000_000


def test_without_experience_it_is_assumed() -> None:
    told = forecast(1000, 1000 * PHOTO, workers=2, experience=Experience())
    assert told.seconds == pytest.approx(25.0)
    assert told.bytes_out == 200_000_000
    assert not told.measured


def test_a_few_pictures_are_no_experience() -> None:
    few = Experience(pictures=9, busy_s=900, bytes_in=9, bytes_out=9)
    assert not forecast(1000, 1000 * PHOTO, workers=2, experience=few).measured


def test_what_was_done_tells_of_what_is_to_do() -> None:
    seen = Experience(pictures=100, busy_s=20.0, bytes_in=100 * PHOTO, bytes_out=100 * 300_000)
    told = forecast(1000, 1000 * PHOTO, workers=4, experience=seen)
    assert told.seconds == pytest.approx(50.0)
    assert told.bytes_out == 300_000_000
    assert told.measured


def test_larger_pictures_take_longer_but_their_derivatives_are_no_larger() -> None:
    seen = Experience(pictures=100, busy_s=20.0, bytes_in=100 * PHOTO, bytes_out=100 * 300_000)
    told = forecast(100, 300 * PHOTO, workers=1, experience=seen)
    assert told.seconds == pytest.approx(40.0)
    assert told.bytes_out == 30_000_000
