"""The exit codes of the command, and how a verb ends with one.

Part of what scripts rely on: a code is never given another meaning. Any other code that is not 0 is a failure too.
"""

from enum import IntEnum

import click


class Exit(IntEnum):
    """What the command's end means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SOME_FAILED = 3
    """Finished, but some files were rejected, incomplete, failed or quarantined."""
    UNREACHABLE = 69
    """No daemon answers."""
    BUSY = 75
    """Another instance holds the lock."""
    CONFIGURATION = 78
    INTERRUPTED = 130


class Stop(click.ClickException):
    """Ends a verb: the text goes to standard error, the code to the caller."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = int(code)  # type: ignore[misc]  # click declares it for the class, and reads it from the instance
