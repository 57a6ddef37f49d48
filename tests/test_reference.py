"""The reference tables of README are those of the code.

`WATCHERD_REWRITE=1 pytest tests/test_reference.py` writes them anew.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from watcherd.telemetry.events import EVENTS
from watcherd.telemetry.metrics import METRICS

README = Path(__file__).parent.parent / "README.md"


def events() -> str:
    rows = [
        f"| `{event.name}` | {event.level} | {', '.join(f'`{field}`' for field in sorted(event.fields))} "
        f"| {event.meaning} |"
        for event in EVENTS.values()
    ]
    return "\n".join(["| event | level | fields | says |", "|---|---|---|---|", *rows])


def metrics() -> str:
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.meaning} |"
        for metric in METRICS.values()
    ]
    return "\n".join(["| metric | kind | labels | says |", "|---|---|---|---|", *rows])


@pytest.mark.parametrize("table", [events, metrics])
def test_the_readmes_table_is_that_of_the_code(table: Callable[[], str]) -> None:
    begin, end = f"<!-- {table.__name__}: from the code -->\n", f"\n<!-- end of {table.__name__} -->"
    text = README.read_text()
    found = re.search(rf"{re.escape(begin)}(.*?){re.escape(end)}", text, re.DOTALL)
    assert found is not None
    if os.environ.get("WATCHERD_REWRITE"):
        README.write_text(text[: found.start(1)] + table() + text[found.end(1) :])
        return
    assert found[1] == table(), "README is behind the code; see this file's docstring"


def test_every_file_that_the_readme_names_is_there() -> None:
    """With its folders, or a test by its bare name."""
    root, text = README.parent, README.read_text()
    named = set(re.findall(r"`((?:tests|watcherd|systemd)/[\w/.@-]+\.\w+|test_\w+\.py)`", text))
    missing = {name for name in named if not (root / name).exists() and ("/" in name or not [*root.rglob(name)])}

    assert len(named) > 10
    assert missing == set()
