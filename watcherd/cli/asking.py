"""Asking the daemon of a state directory: its answers, and what it means where there is none.

Responsible for: telling a daemon that does not run from one that is busy or does not answer. Not responsible for: what
is asked.
"""

from typing import Any

from watcherd.cli.exits import Exit, Stop


def answer_of(folder: str, request: dict[str, Any], *, patiently: bool = False) -> dict[str, Any] | None:
    """The answer of the daemon of this state directory, None where none runs.

    `patiently` waits for as long as it takes. Ends the verb where one runs, but does not answer.
    """
    from watcherd.daemon.control import Silent, Unreachable, ask  # noqa: PLC0415 - not for --help
    from watcherd.daemon.statedir import StateDirectory  # noqa: PLC0415 - as above

    try:
        answer = ask(StateDirectory(folder).control, request, (lambda _: None) if patiently else None)
    except Silent as error:
        raise Stop(Exit.UNREACHABLE, str(error)) from error
    except Unreachable:
        return None
    return {key: value for key, value in answer.items() if key != "last"}


def asked(folder: str, request: dict[str, Any], *, patiently: bool = False) -> dict[str, Any]:
    """The answer of the daemon; ends the verb with UNREACHABLE where none runs."""
    answer = answer_of(folder, request, patiently=patiently)
    if answer is None:
        hint = "is it another one's? give it with --state-dir"
        raise Stop(Exit.UNREACHABLE, f"no daemon runs with the state directory {folder}; {hint}")
    return answer


def safe(text: str) -> str:
    """A name as a terminal may see it: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
