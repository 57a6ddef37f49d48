"""The real worker where the system has no thread left: at its start, or (`THREADS_END=later`) from its first job on.

A thread needs a stack of 8 MB; with less address space than that, the system refuses it as at a limit on processes.
"""

import os
import resource
import sys

from watcherd.imaging import vips
from watcherd.pool import worker
from watcherd.pool.fence import fence
from watcherd.settings import Sandbox

CLOSE_FENCE = fence.close_fence


def close_fence(memory_bytes: int, sandbox: Sandbox = Sandbox.AUTO) -> tuple[str, ...]:
    with open("/proc/self/statm", "rb") as statm:  # now, as no file can be opened later
        pages = int(statm.read().split()[0])
    missing = CLOSE_FENCE(memory_bytes, sandbox)
    enough_for_a_picture = pages * resource.getpagesize() + (6 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (enough_for_a_picture, enough_for_a_picture))
    return missing


if __name__ == "__main__":
    fence.close_fence = close_fence
    if os.environ["THREADS_END"] == "later":
        vips.needs_a_thread = lambda: None
    worker.main(sys.argv[1:])
