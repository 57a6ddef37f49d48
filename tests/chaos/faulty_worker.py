"""A worker with a weakness: contents that hold a marker make it crash, hang or dawdle.

Everything else is the real worker's. `WATCHERD_WORKER_MODULE=tests.chaos.faulty_worker` puts it in its place.
"""

import os
import signal
import sys
import time
from typing import Any

from watcherd.imaging import decode, render
from watcherd.pool import worker

CRASH_ON_LOOK = b"<<crash on look>>"
CRASH_ON_RENDER = b"<<crash on render>>"
ABORT_ON_RENDER = b"<<abort on render>>"
EXIT_ON_RENDER = b"<<exit on render>>"
HANG_ON_RENDER = b"<<hang on render>>"
SLOW_ON_RENDER = b"<<slow on render>>"
LONG_ON_RENDER = b"<<long on render>>"
LEAK_ON_RENDER = b"<<leak on render>>"
CRASH_USUAL_DECODER = b"<<crash the usual decoder>>"
BLOAT_ON_RENDER = b"<<bloat on render>>"
SLOW_S = 1.0
LONG_S = 5.0
"""So long that it is seen at work, however busy the machine is."""
LEAKED_BYTES = 40 << 20
NO_START = "WATCHERD_TEST_NO_START"
"""Names a file: while it is there, no worker starts."""

_leaked: list[bytes] = []

_identify, _render = decode.identify, render.render


def _identify_or_fall(content: Any, **arguments: Any) -> Any:
    if content.find(CRASH_ON_LOOK) >= 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    return _identify(content, **arguments)


def _render_or_fall(content: Any, *arguments: Any, **named: Any) -> Any:
    if content.find(CRASH_ON_RENDER) >= 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    if content.find(CRASH_USUAL_DECODER) >= 0 and not named["other_decoder"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    if content.find(ABORT_ON_RENDER) >= 0:
        os.abort()
    if content.find(EXIT_ON_RENDER) >= 0:
        os._exit(7)
    if content.find(HANG_ON_RENDER) >= 0:
        time.sleep(600)
    if content.find(SLOW_ON_RENDER) >= 0:
        time.sleep(SLOW_S)
    if content.find(LONG_ON_RENDER) >= 0:
        time.sleep(LONG_S)
    if content.find(BLOAT_ON_RENDER) >= 0:
        bloat = [os.urandom(1 << 20)]
        while True:  # until the kernel or the limit on address space ends it
            bloat.append(bloat[0] * 16)
    if content.find(LEAK_ON_RENDER) >= 0:
        _leaked.append(os.urandom(1 << 20) * (LEAKED_BYTES >> 20))
    return _render(content, *arguments, **named)


if __name__ == "__main__":
    if os.path.exists(os.environ.get(NO_START, "")):
        sys.exit("not today")
    decode.identify = _identify_or_fall
    render.render = _render_or_fall
    worker.main(sys.argv[1:])
