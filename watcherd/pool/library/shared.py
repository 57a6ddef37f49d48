"""The pool that all of a program shares: made at its first use, ended with the program.

Not responsible for: what a pool is (`pool.py`).
"""

import os
import threading

from watcherd.pool.library.pool import DIMENSION, ImageProcessingPool


class _Shared:
    """The program's pool, if it has one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: ImageProcessingPool | None = None


_shared = _Shared()
os.register_at_fork(after_in_child=_shared.__init__)  # type: ignore[misc]


def get_processing_pool(max_workers: int | None = None, max_dimension: int | None = None) -> ImageProcessingPool:
    """The pool that all of a program shares, running; the first call makes it, with the settings given.

    It ends with the program, or by `shutdown_processing_pool()`. Raises ValueError where it exists with other settings
    than those given.
    """
    with _shared.lock:
        pool = _shared.pool
        if pool is None or not pool.is_running:
            pool = _shared.pool = ImageProcessingPool(
                max_workers, DIMENSION if max_dimension is None else max_dimension
            )
            pool.start()
        elif max_workers not in (None, pool.max_workers) or max_dimension not in (None, pool.max_dimension):
            raise ValueError("the shared pool runs with other settings; call shutdown_processing_pool() before")
        return pool


def shutdown_processing_pool() -> None:
    """End the shared pool at once; what is not done ends with PoolError. The next call of the other makes a new one."""
    with _shared.lock:
        pool, _shared.pool = _shared.pool, None
    if pool is not None:
        pool.shutdown(cancel_futures=True)
