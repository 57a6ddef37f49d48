"""The first contact with a root: what was there before us is done as far as the backfill takes it.

Responsible for: remembering what is left out. Only the first look leaves anything out: a name that is new later is an
upload, whatever its times say (a folder that is moved in keeps those of its files). Not responsible for: the setting's
meaning (`backfill.py`), and for what is left out and wanted later (`queue/plan.py`).
"""

from watcherd import backfill
from watcherd.daemon.effects import Moment, WatchedRoot
from watcherd.ledger.ledger import Ledger
from watcherd.model import Change, Entry, JobClass, State
from watcherd.queue.plan import LEFT_OUT
from watcherd.watch.reports import Found


def taken(found: Found, root: WatchedRoot, ledger: Ledger, moment: Moment) -> tuple[Change, ...]:
    """What a scan has found, without what is left out, which is recorded as such."""
    wanted = backfill.parse(root.settings.backfill)
    asked_for = found.ticket is not None or found.arriving is not JobClass.BACKLOG
    if asked_for or wanted == backfill.ALL or ledger.identity(found.root):
        return found.changes
    kept = []
    for change in found.changes:
        is_new = change.stamp is not None and ledger.entry(change.source) is None
        if is_new and change.stamp is not None and not wanted.takes(change.stamp, root.since_s):
            left_out = Entry(
                source=change.source,
                state=State.IGNORED,
                stamp=change.stamp,
                detail=LEFT_OUT,
                first_seen_at_s=moment.wall_s,
            )
            ledger.record(left_out)
        else:
            kept.append(change)
    return tuple(kept)
