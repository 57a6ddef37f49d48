"""Sizing: the pool's figures from the machine's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.pool.sizing import (
    TYPICAL_JOB_BYTES,
    Machine,
    address_space,
    identify_timeout_s,
    memory_budget,
    render_timeout_s,
    rest_factor,
    wanted_workers,
    worker_count,
)
from watcherd.settings import PoolSettings

GIB = 1024**3
PLENTY = 100 * GIB


def machine(cores: int = 4, available_bytes: int = 8 * GIB) -> Machine:
    return Machine(cores=cores, available_bytes=available_bytes)


@pytest.mark.parametrize(
    ("available_bytes", "budget_bytes"),
    [(8 * GIB, 4 * GIB), (16 * GIB, 8 * GIB), (20 * GIB, 14 * GIB), (0, 0)],
)
def test_the_budget_is_half_of_what_is_available_and_more_where_there_is_much(
    available_bytes: int, budget_bytes: int
) -> None:
    assert memory_budget(PoolSettings(), machine(available_bytes=available_bytes)) == budget_bytes


def test_a_workers_address_space_holds_all_pictures_that_may_be_decoded_and_itself() -> None:
    assert address_space(3 * GIB) == 5 * GIB


def test_a_budget_that_is_set_holds() -> None:
    assert memory_budget(PoolSettings(memory_bytes=3 * GIB), machine()) == 3 * GIB


@pytest.mark.parametrize(
    ("cores", "cpu_limit", "workers"),
    [(1, 1.0, 1), (4, 1.0, 4), (64, 1.0, 64), (4, 0.5, 2), (10, 0.6, 6), (1, 0.1, 1), (2, 0.6, 2)],
)
def test_there_is_a_worker_a_core_as_far_as_the_limit_allows(cores: int, cpu_limit: float, workers: int) -> None:
    assert worker_count(PoolSettings(cpu_limit=cpu_limit), machine(cores), PLENTY) == workers


@pytest.mark.parametrize(("workers", "cpu_limit", "count"), [(1, 1.0, 1), (8, 1.0, 8), (8, 0.5, 2), (2, 0.5, 2)])
def test_a_number_that_is_set_holds_unless_a_limit_on_the_cores_is_set_as_well(
    workers: int, cpu_limit: float, count: int
) -> None:
    assert worker_count(PoolSettings(workers=workers, cpu_limit=cpu_limit), machine(cores=4), PLENTY) == count


def test_there_are_no_more_workers_than_memory_carries_but_always_one() -> None:
    assert worker_count(PoolSettings(workers=8), machine(), 3 * TYPICAL_JOB_BYTES + 1) == 3
    assert worker_count(PoolSettings(workers=8), machine(), 0) == 1


@given(most=st.integers(1, 64), waiting=st.integers(0, 100_000), in_hand=st.integers(0, 64), warm=st.integers(0, 4))
def test_a_worker_for_each_job_and_a_few_kept_warm(most: int, waiting: int, in_hand: int, warm: int) -> None:
    wanted = wanted_workers(most, waiting=waiting, in_hand=in_hand, warm=warm)
    assert wanted == min(most, max(waiting + in_hand, warm))


@given(size=st.integers(0, 2**40), pixels=st.integers(0, 2**40), variants=st.integers(1, 32))
def test_deadlines_grow_with_bytes_pixels_and_variants(size: int, pixels: int, variants: int) -> None:
    settings = PoolSettings(timeout_s=60.0)
    assert 60.0 <= identify_timeout_s(settings, size) <= identify_timeout_s(settings, size + 1)
    timeout_s = render_timeout_s(settings, size, pixels, variants)
    assert 60.0 <= timeout_s <= render_timeout_s(settings, size, pixels, variants + 1)
    assert timeout_s <= render_timeout_s(settings, size + 1, pixels + 1, variants)


@pytest.mark.parametrize(
    ("cores", "cpu_limit", "workers", "expected"),
    [(2, 1.0, 2, 0.0), (2, 0.5, 1, 0.0), (2, 0.6, 2, 2 / 1.2 - 1), (4, 0.25, 4, 3.0), (1, 0.5, 1, 1.0)],
)
def test_workers_rest_so_that_all_of_them_stay_within_the_limit(
    cores: int, cpu_limit: float, workers: int, expected: float
) -> None:
    assert expected == pytest.approx(rest_factor(PoolSettings(cpu_limit=cpu_limit), machine(cores), workers))
