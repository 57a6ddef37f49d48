"""Holding the state directory for the length of a verb, and what can go wrong with it, in the command's words."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from watcherd.cli.exits import Exit, Stop
from watcherd.daemon.damage import set_aside
from watcherd.daemon.statedir import Busy, StateDirectory
from watcherd.daemon.verbs.places import over_links
from watcherd.ledger.errors import LedgerDamaged, LedgerError, LedgerTooNew, LedgerUnsafe
from watcherd.ledger.ledger import Ledger
from watcherd.watch.mountpoints import linked


@contextmanager
def hold(folder: str) -> Iterator[StateDirectory]:
    """Make the state directory if need be, and hold its lock.

    Ends the verb with BUSY where another process has it, with CONFIGURATION where it cannot be used.
    """
    state = StateDirectory(folder)
    try:
        state.make()
        lock = state.take()
    except Busy as error:
        hint = "stop it, or give another one with --state-dir"
        raise Stop(Exit.BUSY, f"{error}; {hint}") from error
    except OSError as error:
        text = f"the state directory {folder} cannot be used: {error.strerror}; give another one with --state-dir"
        raise Stop(Exit.CONFIGURATION, text) from error
    try:
        yield state
    except Busy as error:
        raise Stop(Exit.BUSY, f"{error}; stop it first") from error
    except (LedgerTooNew, LedgerUnsafe) as error:
        raise Stop(Exit.CONFIGURATION, str(error)) from error
    except LedgerDamaged as error:
        set_aside(state.ledger, error.cause, operation="read")
        raise Stop(Exit.FAILED, f"{error.cause}; it was set aside: do this again, and a new one is begun") from error
    except LedgerError as error:
        raise Stop(Exit.FAILED, str(error)) from error
    finally:
        os.close(lock)


def seen_mirrors(folder: str) -> frozenset[str]:
    """The mirrors that the ledger of a state directory knows: these are waited for as well."""
    try:
        with Ledger.open(StateDirectory(folder).ledger, read_only=True) as ledger:
            layouts = [layout for root in ledger.roots() for layout in ledger.layouts(root)]
            return frozenset(os.fsdecode(tree) for _, tree, _ in layouts if tree)
    except LedgerError:
        return frozenset()


def seen_disks(folder: str) -> dict[str, tuple[int, bytes]]:
    """The folders below roots at which disks were mounted, as (root, path from there), by their absolute path."""
    try:
        with Ledger.open(StateDirectory(folder).ledger, read_only=True) as ledger:
            return {
                os.fsdecode(path.rstrip(b"/") + b"/" + below): (root, below)
                for root, path in ledger.roots().items()
                for below in ledger.mounts(root)
            }
    except LedgerError:
        return {}


def seen_links(folder: str) -> dict[bytes, bytes]:
    """The links to folders that roots follow, by their absolute path, and where they lead to."""
    try:
        with Ledger.open(StateDirectory(folder).ledger, read_only=True) as ledger:
            return links_of(ledger)
    except LedgerError:
        return {}


def links_of(ledger: Ledger) -> dict[bytes, bytes]:
    """The same from an open ledger."""
    return {
        root.rstrip(b"/") + b"/" + link: target
        for number, root in ledger.roots().items()
        for link, target in linked(ledger.mounts(number)).items()
    }


def located(place: str, links: Mapping[bytes, bytes]) -> str:
    """The path by which a root has a folder or file: without links, but for those that are followed (`links`).

    A file that is a link itself stays one: its name in the real path of its folder.
    """
    folder, name = os.path.split(os.path.abspath(place))
    real = os.path.realpath(place) if os.path.isdir(place) else os.path.join(os.path.realpath(folder), name)
    return os.fsdecode(over_links(os.fsencode(real), links))


def seen_roots(folder: str) -> frozenset[str]:
    """The roots that the ledger of a state directory knows: these are waited for when they are not there."""
    try:
        with Ledger.open(StateDirectory(folder).ledger, read_only=True) as ledger:
            return frozenset(os.fsdecode(path) for path in ledger.roots().values())
    except LedgerError:
        return frozenset()
