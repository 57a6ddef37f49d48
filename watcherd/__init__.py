"""watcherd: watches upload directories and writes image derivatives next to each upload.

For programs that have bytes and want standardised pictures without a daemon: `ImageProcessingPool` (`pool/library/`).

This module holds the version and imports nothing heavy: `import watcherd` and `watcherd --version` cost nothing. The
names of the pool are imported at their first use.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcherd.pool.library.pool import ImageProcessingPool
    from watcherd.pool.library.result import ImageProcessingError, PoolError, ProcessedImage
    from watcherd.pool.library.shared import get_processing_pool, shutdown_processing_pool

__version__ = "0.1.0"

__all__ = [
    "ImageProcessingError",
    "ImageProcessingPool",
    "PoolError",
    "ProcessedImage",
    "__version__",
    "get_processing_pool",
    "shutdown_processing_pool",
]

_HOMES = {
    "ImageProcessingError": "watcherd.pool.library.result",
    "ImageProcessingPool": "watcherd.pool.library.pool",
    "PoolError": "watcherd.pool.library.result",
    "ProcessedImage": "watcherd.pool.library.result",
    "get_processing_pool": "watcherd.pool.library.shared",
    "shutdown_processing_pool": "watcherd.pool.library.shared",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
