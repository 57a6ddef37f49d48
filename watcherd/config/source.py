"""One configuration file as text: its TOML, the line where each thing stands, and what is wrong with it.

Responsible for: syntax errors, the place of a table, array or key, the text of an error, "did you mean".
Not responsible for: what the settings mean.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Place = tuple[str | int, ...]
"""The way to a value: table, key, number within an array; `("roots", 0, "path")`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. `line` counts from 1; 0 where there is no line (the command line, a missing file)."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return _printable(f"{place}: {self.message}")


class ConfigError(Exception):
    """The configuration cannot be used. Its text is every problem, one a line."""

    def __init__(self, errors: list[Problem]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class SourceFile:
    """A file that was read and is syntactically right; collects what is wrong beyond that."""

    def __init__(self, name: str, text: str, document: dict[str, object]) -> None:
        self.name = name
        self.document = document
        self._text = text
        self._lines: dict[Place, int] | None = None
        self._problems: dict[Problem, None] = {}

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it that has one; 0 if nothing has."""
        if self._lines is None:
            self._lines = locate(self._text)
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 0)

    def report(self, place: Place, message: str) -> None:
        """Note a problem; the same one twice counts once."""
        self._problems[Problem(file=self.name, line=self.line(place), message=message)] = None

    def raise_if_wrong(self) -> None:
        """End the reading with all problems in the order of the file.

        Raises ConfigError if there is at least one.
        """
        if self._problems:
            raise ConfigError(sorted(self._problems, key=lambda problem: problem.line))


def read(name: str) -> SourceFile:
    """Read a file and take it apart.

    Raises ConfigError where it cannot be read, is not UTF-8, or is not TOML.
    """
    try:
        with open(name, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise ConfigError([Problem(file=name, line=0, message=f"cannot be read: {error.strerror}")]) from error
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        return SourceFile(name, text, tomllib.loads(text))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file=name, line=line, message="not UTF-8 text")]) from error
    except tomllib.TOMLDecodeError as error:
        line, cause = _syntax_error(str(error), text)
        raise ConfigError([Problem(file=name, line=line, message=cause)]) from error
    except (RecursionError, ValueError) as error:  # nested a thousand times; a number of more than 4,300 digits
        raise ConfigError([Problem(file=name, line=0, message=f"cannot be read: {error}")]) from error


def _syntax_error(message: str, text: str) -> tuple[int, str]:
    """The line and the cause; Python 3.11 gives both in one text."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    if found is None:
        return 0, message
    if found[2] is None:
        return text.rstrip("\n").count("\n") + 1, f"{found[1]} at the end of the file"
    return int(found[2]), f"{found[1]} in column {found[3]}"


# ---------------------------------------------------------------------------------------------------- line numbers


def locate(text: str) -> dict[Place, int]:
    """The line on which each table, array element and key of a valid TOML text begins.

    Lines are put together until they parse as one statement; what stands inside a statement of several lines gets the
    first of them.
    """
    lines: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    statement, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        start = start if statement else number
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(parsed, counts)
            for depth in range(1, len(table) + 1):
                lines.setdefault(table[:depth], start)
        else:
            _record(parsed, table, start, lines)
        statement = ""
    return lines


def _header(parsed: object, counts: dict[Place, int]) -> Place:
    """The place that a `[table]` or `[[array]]` line opens."""
    place: Place = ()
    while isinstance(parsed, dict) and parsed:
        ((key, parsed),) = parsed.items()
        place += (key,)
        if isinstance(parsed, list):
            counts[place] = counts.get(place, 0) + 1
        if place in counts:
            place += (counts[place] - 1,)
    return place


def _record(value: object, place: Place, line: int, lines: dict[Place, int]) -> None:
    if place:
        lines.setdefault(place, line)
    inner: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        _record(item, (*place, key), line, lines)


# ---------------------------------------------------------------------------------------------------------- wording


def meant(word: str, words: Iterable[str], *, form: str = '"{}"') -> str:
    """`; did you mean "workers"?` where one of the words is close, else nothing."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return f"; did you mean {form.format(close[0])}?" if close else ""


def _printable(text: str) -> str:
    """One line that any terminal takes: what cannot be printed is escaped."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
