"""How many workers, how much memory, how long: the pool's figures from the machine's. Pure."""

from dataclasses import dataclass
from math import ceil

from watcherd.settings import PoolSettings

_LARGE_MACHINE_BYTES = 16 * 1024**3
TYPICAL_JOB_BYTES = 200 * 1024**2
"""What a worker needs for an ordinary photo, its interpreter included (measured: 60 to 150 MB; chosen with room)."""
_WORKER_BYTES = 2 * 1024**3
"""Address space beside the pictures: 0.3 GB are mapped by an idle worker, most of it libraries (measured), and threads
of extras reserve 8 MB each."""
_ROUNDING = 1e-9
_BYTES_PER_SECOND = 5_000_000
_PIXELS_PER_SECOND = 1_000_000
"""Speeds that the slowest box we care about surpasses by far (chosen, not measured): they stretch deadlines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is: cores that this process may use, and memory that could be had now."""

    cores: int
    available_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSize:
    """How large the pool may be: workers, bytes for their jobs together, and how long each rests after a job."""

    most_workers: int
    budget_bytes: int
    rest_factor: float


def pool_size(settings: PoolSettings, machine: Machine) -> PoolSize:
    """All three figures."""
    budget_bytes = memory_budget(settings, machine)
    most = worker_count(settings, machine, budget_bytes)
    return PoolSize(most_workers=most, budget_bytes=budget_bytes, rest_factor=rest_factor(settings, machine, most))


def memory_budget(settings: PoolSettings, machine: Machine) -> int:
    """Bytes that granted jobs and fetched sources may cost together."""
    if settings.memory_bytes:
        return settings.memory_bytes
    share = 0.7 if machine.available_bytes > _LARGE_MACHINE_BYTES else 0.5
    return int(machine.available_bytes * share)


def address_space(budget_bytes: int) -> int:
    """The most address space of one worker: a decoder that takes more than all pictures may together has gone mad."""
    return budget_bytes + _WORKER_BYTES


def worker_count(settings: PoolSettings, machine: Machine, budget_bytes: int) -> int:
    """The most workers to run at once: the least of what is set, the cores allowed, and what memory carries.

    A number that is set may be above the number of cores, unless a limit on them is set as well.
    """
    by_cores = max(1, ceil(machine.cores * settings.cpu_limit - _ROUNDING))
    by_memory = max(1, budget_bytes // TYPICAL_JOB_BYTES)
    if not settings.workers:
        return min(by_cores, by_memory)
    return min(settings.workers, by_memory) if settings.cpu_limit >= 1 else min(settings.workers, by_cores, by_memory)


def rest_factor(settings: PoolSettings, machine: Machine, workers: int) -> float:
    """For how many times the length of its last job a worker rests, so that all together stay within `cpu_limit`."""
    if settings.cpu_limit >= 1:
        return 0.0
    return max(0.0, workers / (machine.cores * settings.cpu_limit) - 1.0)


def wanted_workers(most: int, *, waiting: int, in_hand: int, warm: int = 1) -> int:
    """How many to have now: one for each job there is, at least the warm minimum, at most `most`."""
    return max(min(most, waiting + in_hand), min(warm, most))


def identify_timeout_s(settings: PoolSettings, size_bytes: int) -> float:
    """How long a worker may take to look at a content of that size."""
    return settings.timeout_s + size_bytes / _BYTES_PER_SECOND


def render_timeout_s(settings: PoolSettings, size_bytes: int, pixels: int, variants: int) -> float:
    """How long a worker may take from the grant on. Each variant may encode as long as the decode took."""
    return settings.timeout_s + size_bytes / _BYTES_PER_SECOND + (1 + variants) * pixels / _PIXELS_PER_SECOND
