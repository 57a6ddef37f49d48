"""Error notes: for people who upload and never see a log, what is wrong with a file stands beside it.

Responsible for: what stands in a note, and when there is one; in roots with `error_notes` alone. Not responsible for:
files (`watch/hands/noting.py`). A note follows the ledger: it stands while its source is rejected, quarantined or
failed.
"""

from collections.abc import Iterator, Mapping

from watcherd.daemon.effects import AskHands, Effect, WatchedRoot
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Reason, Source, State
from watcherd.naming import NOTE_MARK
from watcherd.watch.hands.hands import Annotate

_NOT_DONE = frozenset({State.REJECTED, State.QUARANTINED, State.FAILED})
_AT_REST = frozenset({State.DONE, State.IGNORED})
_AGAIN = "Upload the file again, complete; if that does not help, save it anew as JPEG or PNG and upload that."
_SMALLER = "Upload a smaller version of the picture, or ask the administrator to raise the limit."
_ASK = "Ask the administrator: nothing is wrong with the file itself."

ADVICE: Mapping[Reason, str] = {
    Reason.TOO_MANY_BYTES: _SMALLER,
    Reason.TOO_MANY_PIXELS: _SMALLER,
    Reason.SIDE_TOO_LONG: _SMALLER,
    Reason.TOO_MUCH_MEMORY: _SMALLER,
    Reason.DAMAGED: _AGAIN,
    Reason.TRUNCATED: _AGAIN,
    Reason.HOLES: _AGAIN,
    Reason.ZERO_TAIL: _AGAIN,
    Reason.GROWING: _AGAIN,
    Reason.DECODER_ERROR: _AGAIN,
    Reason.UNSUPPORTED: "Save the picture as JPEG or PNG and upload that.",
    Reason.DECODER_MISSING: "Save the picture as JPEG or PNG and upload that; this format takes an extra of watcherd.",
    Reason.NAME_TAKEN: "Rename the file that has the name of a derivative, or this one.",
    Reason.NOT_PERMITTED: "Have the administrator see to the permissions of this file and its folder.",
    Reason.OUT_OF_MEMORY: _SMALLER,
    Reason.TIMED_OUT: _SMALLER,
    Reason.CRASHED: _AGAIN,
    Reason.READ_ERROR: _ASK,
    Reason.WRITE_ERROR: _ASK,
    Reason.INTERRUPTED: _ASK,
    Reason.LAYOUT: _ASK,
}
"""What an uploader can do, by reason."""


def note_text(entry: Entry) -> bytes:
    """What stands in a note: which file, what is wrong, what to do; our line last."""
    reason = entry.reason or Reason.DAMAGED
    name = entry.source.name.decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    why = f"{reason.replace('_', ' ')}: {' '.join(entry.detail.split())}" if entry.detail else reason.replace("_", " ")
    lines = [
        f"No thumbnails or previews can be made of {shown}.",
        "",
        f"Reason: {why[:1000]}",
        f"What to do: {ADVICE[reason]}",
        "",
        "This note is removed when the file is replaced by one that can be used, or deleted.",
        NOTE_MARK.decode(),
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


class Notes:
    """The notes of all roots."""

    def __init__(self, *, ledger: Ledger, roots: Mapping[int, WatchedRoot], tickets: Iterator[int]) -> None:
        self._ledger = ledger
        self._roots = roots
        self._tickets = tickets
        self._asked: set[int] = set()
        self._brought: set[int] = set()

    @property
    def asked(self) -> int:
        """How many the hands are busy with."""
        return len(self._asked)

    def answered(self, ticket: int) -> None:
        """The hands are through with one. One that could not be written is tried again at the next start."""
        self._asked.discard(ticket)

    def ended(self, source: Source) -> list[Effect]:
        """An attempt has ended: the note follows what the ledger says now."""
        entry = self._ledger.entry(source) if self._wants(source.root) else None
        if entry is None:
            return []
        if entry.state in _NOT_DONE:
            return [self._ask(source, note_text(entry))]
        return [self._ask(source, None)] if entry.state in _AT_REST else []

    def gone(self, source: Source) -> list[Effect]:
        """A source was deleted."""
        return [self._ask(source, None)] if self._wants(source.root) else []

    def bring(self, root: int) -> list[Effect]:
        """A root was compared for the first time: what stood in the ledger before has its note as well."""
        if root in self._brought or not self._wants(root):
            return []
        self._brought.add(root)
        return self._all(root, with_text=True)

    def switched(self, root: int) -> list[Effect]:
        """`error_notes` has changed: all notes that there should be, or none."""
        self._brought.discard(root)
        return self.bring(root) if self._wants(root) else self._all(root, with_text=False)

    def _all(self, root: int, *, with_text: bool) -> list[Effect]:
        failing = [entry for entry in self._ledger.failures(-1) if entry.source.root == root]
        return [
            self._ask(entry.source, note_text(entry) if with_text else None)
            for entry in failing
            if entry.state in _NOT_DONE
        ]

    def _wants(self, root: int) -> bool:
        return root in self._roots and self._roots[root].settings.error_notes

    def _ask(self, source: Source, text: bytes | None) -> Effect:
        ticket = next(self._tickets)
        self._asked.add(ticket)
        return AskHands(root=source.root, request=Annotate(ticket=ticket, path=source.path, text=text))
