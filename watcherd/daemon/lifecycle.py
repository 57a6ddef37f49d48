"""The life of a daemon: its first and its last line, and the exit code.

Not responsible for: what it consists of (`composition.py`, `shell.py`), what happens in between (`loop.py`, `core.py`).
"""

import os
import time

from watcherd import __version__
from watcherd.daemon import openfiles
from watcherd.daemon.composition import Composition
from watcherd.daemon.reload.origin import Origin
from watcherd.daemon.shell import Shell
from watcherd.daemon.statedir import Busy, StateDirectory
from watcherd.ledger.errors import LedgerError
from watcherd.settings import Settings
from watcherd.telemetry.log import get_logger

log = get_logger()

EXIT_OK, EXIT_FAILED = 0, 1


def run(settings: Settings, state: StateDirectory, origin: Origin) -> int:
    """Run the daemon until it is told to end. The caller holds the lock. Returns the exit code.

    Raises Busy and LedgerError, which have exit codes of their own; whatever else nobody has foreseen is in the log.
    """
    started = time.monotonic()
    log.info("daemon.starting", version=__version__, pid=os.getpid(), state_dir=state.path, config=origin.file)
    openfiles.raise_limit()
    try:
        code = _serve(settings, state, origin, started)
    except (Busy, LedgerError):
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        hint = "the traceback says where: a limit or a file of this machine, or else a fault of watcherd to be reported"
        log.exception("daemon.failed", operation="run", cause=cause, hint=hint)
        code = EXIT_FAILED
    log.info("daemon.stopped", exit_code=code, uptime_s=round(time.monotonic() - started, 3))
    return code


def _serve(settings: Settings, state: StateDirectory, origin: Origin, started: float) -> int:
    with Composition(settings, state, settings.roots, patient=True) as parts:
        log.info("ledger.opened", path=parts.ledger.path, size_bytes=os.path.getsize(parts.ledger.path))
        failure = Shell(parts, origin, started).serve()
    if failure is None:
        return EXIT_OK
    hint = "see the lines before this one; the service manager decides whether to start again"
    log.error("daemon.failed", operation="run", cause=failure, hint=hint)
    return EXIT_FAILED
