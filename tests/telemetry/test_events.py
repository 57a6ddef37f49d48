"""The table of events and the code agree."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import watcherd
from watcherd.settings import LogLevel
from watcherd.telemetry.events import ALWAYS, EVENTS

PACKAGE = Path(watcherd.__file__).parent
METHODS = {str(level): level for level in LogLevel} | {"exception": LogLevel.ERROR}


class Call(NamedTuple):
    """One `log.<level>(...)` in the package. `fields` lacks those given by `**`."""

    place: str
    level: LogLevel
    name: str | None
    fields: frozenset[str]


def is_log(node: ast.expr) -> bool:
    """`log`, `_log`, `self._log`, and `log.bind(...)`."""
    match node:
        case ast.Name(id="log" | "_log") | ast.Attribute(attr="log" | "_log"):
            return True
        case ast.Call(func=ast.Attribute(value=inner, attr="bind")):
            return is_log(inner)
        case _:
            return False


def calls_in(text: str, file: str) -> Iterator[Call]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(value=target, attr=method)) if method in METHODS and is_log(target):
                first = node.args[0] if len(node.args) == 1 else None
                literal = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
                fields = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
                yield Call(f"{file}:{node.lineno}", METHODS[method], literal, fields)


def every_call() -> list[Call]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [call for file in files for call in calls_in(file.read_text(), str(file.relative_to(PACKAGE)))]


def faults(call: Call) -> list[str]:
    event = EVENTS.get(call.name or "")
    if event is None:
        return [f"{call.place}: {call.name} is not declared (the name must be a literal, and the only argument)"]
    found = [f"{call.place}: {event.name} is declared as {event.level}"] if event.level != call.level else []
    unknown = sorted(call.fields - event.fields - ALWAYS)
    return found + ([f"{call.place}: {event.name} has undeclared fields {unknown}"] if unknown else [])


def test_every_logged_event_is_declared_with_its_level_and_fields() -> None:
    assert [fault for call in every_call() for fault in faults(call)] == []


def test_every_declared_event_is_logged_somewhere() -> None:
    unused = set(EVENTS) - {call.name for call in every_call()}
    assert sorted(unused) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('log.info("daemon.ready", roots=1)', 0),
        ('log.bind(a=1).info("daemon.ready")', 0),
        ('log.info("daemon.ready", root=1)', 1),
        ('self._log.error("daemon.ready")', 1),
        ('log.info("daemon.redy")', 1),
        ("log.info(name)", 1),
        ('log.info("daemon.ready", 5)', 1),
        ('logging.info("whatever")', 0),
    ],
)
def test_the_check_sees_what_it_should(text: str, expected: int) -> None:
    assert len([fault for call in calls_in(text, "x.py") for fault in faults(call)]) == expected


def test_names_and_fields_are_lower_case_words() -> None:
    odd = [name for name in EVENTS if not re.fullmatch(r"[a-z]+\.[a-z_]+", name)]
    odd += [f for event in EVENTS.values() for f in event.fields if not re.fullmatch(r"[a-z][a-z_]*", f)]
    assert odd == []


def test_no_field_takes_the_place_of_the_frame() -> None:
    frame = {"timestamp", "level", "event", "exception"}
    assert [event.name for event in EVENTS.values() if event.fields & frame] == []


def test_every_event_says_what_it_means() -> None:
    assert [event.name for event in EVENTS.values() if not re.fullmatch(r"[A-Z].*\.", event.meaning)] == []
