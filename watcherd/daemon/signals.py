"""Signals and clocks, as the loop takes them: a signal is an item in the inbox, a moment one reading of both clocks."""

import signal
import time
from dataclasses import dataclass

from watcherd.daemon.effects import Moment
from watcherd.pool.inbox import Inbox


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal came."""

    number: int


def listen(inbox: Inbox, *numbers: signal.Signals) -> None:
    """Have these signals come in by the inbox, also where whoever started this program had them blocked."""
    for number in numbers:
        signal.signal(number, lambda n, _: inbox.post(Signalled(n)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the workers' exit codes away


def is_ignored(number: signal.Signals) -> bool:
    """Whether whoever started this program had it ignore a signal, as nohup(1) does with SIGHUP."""
    return signal.getsignal(number) is signal.SIG_IGN


def moment_now() -> Moment:
    """The clocks as they stand."""
    return Moment(now=time.monotonic(), wall_s=time.time())
