"""The dashboard and the alert rules speak of metrics that there are, with labels and values that these have."""

import json
import re
from importlib.resources import files
from typing import Any

import pytest

from watcherd.model import Crashed, JobClass, Rendered, Reused, Unchanged
from watcherd.telemetry.metrics import METRICS, MetricKind
from watcherd.watch.reports import DoubtReason
from watcherd.watch.roots import RootState

FOLDER = files("watcherd.telemetry") / "monitoring"
ALERTS = (FOLDER / "alerts.yml").read_text()
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
OF_THE_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Every query: of the dashboard as they are, of the rules each line (they are YAML of the simplest kind)."""
    lines = [line for line in ALERTS.splitlines() if not re.match(r"\s*(#|summary:|description:|- alert:)", line)]
    return [target["expr"] for panel in panels() for target in panel["targets"]] + lines


def named(text: str) -> set[str]:
    return set(re.findall(r"\b(?:watcherd|process)_[a-z_]+", text))


def declared(name: str) -> bool:
    base = OF_A_HISTOGRAM.sub("", name)
    histogram = base != name and base in METRICS and METRICS[base].kind is MetricKind.HISTOGRAM
    return name in METRICS or name in OF_THE_PROCESS or histogram


def test_every_metric_that_they_name_exists() -> None:
    everything = set().union(*map(named, expressions()))
    assert len(everything) > 20
    assert {name for name in everything if not declared(name)} == set()


def test_every_label_that_they_select_exists() -> None:
    for expression in expressions():
        for name, selector in re.findall(r"\b(watcherd_[a-z_]+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"([a-z]+)\s*(?:=~|!~|!=|=)", selector)) - {"instance", "job"}
            assert labels <= set(METRICS[OF_A_HISTOGRAM.sub("", name)].labels), expression


VALUES = {
    "state": {*RootState, "done", "quarantined", "failed", "starting", "idle", "resting", "busy", "stopping"},
    "class": set(JobClass),
    "reason": set(DoubtReason),
    "outcome": {kind.__name__.lower() for kind in (Rendered, Reused, Unchanged, Crashed)} | {"rejected", "ignored"},
}


@pytest.mark.parametrize("label", VALUES)
def test_every_value_that_they_select_can_be(label: str) -> None:
    selected = re.findall(rf'\b{label}(?:=~|!~|!=|=)"([a-z_|]+)"', "\n".join(expressions()))
    assert selected
    assert {value for values in selected for value in values.split("|")} <= VALUES[label]


def test_every_alert_says_what_to_do() -> None:
    alerts = re.split(r"\n\s+- alert: ", ALERTS)[1:]
    assert len(alerts) >= 8
    for alert in alerts:
        assert re.search(r"\n\s+expr: .", alert)
        assert re.search(r"severity: (critical|warning|info)\}", alert)
        assert re.search(r"\n\s+summary: .", alert)
        assert re.search(r"\n\s+description: .", alert)


def test_the_panels_lie_beside_each_other_and_not_on_top() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
