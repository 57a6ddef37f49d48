"""An outcome in words: for the log and the status. Pure."""

from watcherd.model import Crashed, Failed, Ignored, Incomplete, Outcome, Reason, Rejected, TimedOut


def describe(outcome: Outcome) -> tuple[str, str, str]:
    """The outcome's name, its reason, and the detail for a person."""
    name = type(outcome).__name__.lower()
    match outcome:
        case Incomplete(reason=reason, detail=detail) | Rejected(reason=reason, detail=detail):
            return name, reason, detail
        case Failed(reason=reason, detail=detail):
            return name, reason, detail
        case TimedOut(timeout_s=timeout_s):
            return name, Reason.TIMED_OUT, f"its worker was ended after {timeout_s:.0f} s"
        case Crashed(how=how, outside=outside):
            return name, Reason.INTERRUPTED if outside else Reason.CRASHED, f"its worker ended: {how}"
        case Ignored(kind=kind):
            return name, kind, ""
    return name, "", ""
