"""The line of the log has the figures that Prometheus reads: of what is counted, the growth."""

import json
from typing import Any

import pytest

from tests.daemon.world import World
from watcherd.daemon.reporting.figures import counted, figures
from watcherd.daemon.reporting.metrics_line import MetricsLine
from watcherd.daemon.reporting.readings import readings
from watcherd.model import Reason, Rejected
from watcherd.pool.processes import Workers
from watcherd.telemetry.metrics import Distribution, Reading
from watcherd.watch.reports import Doubt, DoubtReason


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in said if line["event"] == "pool.metrics"]


def test_counters_are_told_by_their_growth_and_all_else_as_it_is() -> None:
    before = counted([Reading(name="watcherd_read_bytes_total", value=100)])
    now = [
        Reading(name="watcherd_read_bytes_total", value=130),
        Reading(name="watcherd_written_bytes_total", value=7),
        Reading(name="watcherd_workers_limit", value=4),
        Reading(name="watcherd_attempts_total", labels=("rendered", ""), value=2),
        Reading(name="watcherd_attempts_total", labels=("rejected", "damaged"), value=1),
        Reading(name="watcherd_settling_sources", value=0),
    ]
    assert figures(now, before) == {
        "read_bytes_total": 30,
        "written_bytes_total": 7,
        "workers_limit": 4,
        "attempts_total": {"rendered": 2, "rejected/damaged": 1},
    }


def test_a_histogram_is_told_as_number_and_sum_of_what_came() -> None:
    def at(counts: tuple[int, ...], sum_s: float) -> list[Reading]:
        value = Distribution(bounds=(1.0,), counts=counts, sum_s=sum_s)
        return [Reading(name="watcherd_stage_seconds", labels=("decode",), value=value)]

    first, second = at((1, 1), 3.5), at((2, 3), 9.0)
    assert figures(second, counted(first)) == {"stage_seconds": {"decode": {"number": 3, "sum_s": 5.5}}}
    assert figures(second, counted(second)) == {}


def test_every_metric_that_is_not_zero_is_in_the_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    line = MetricsLine(world.core, Workers())
    line.due(world.moment)
    world.plays[b"not good"] = Rejected(reason=Reason.DAMAGED, detail="cut")
    world.put(b"a.jpg", b"picture a")
    world.put(b"b.jpg", b"not good")
    world.report(Doubt(root=1, directory=b"", why=DoubtReason.OVERFLOW))
    world.run(70.0)
    line.due(world.moment)
    world.run(60.0)
    line.due(world.moment)
    first, second = lines(capsys)

    made = readings(world.core, world.moment, resident_bytes=0, started_at_s=1.0)
    shown = {one.name.removeprefix("watcherd_") for one in made if isinstance(one.value, Distribution) or one.value}
    assert set(first["figures"]) | {"stage_seconds", "attempt_seconds"} >= shown - {"start_time_seconds"}
    assert first["figures"]["attempts_total"] == {"rendered": 1, "rejected/damaged": 1}
    assert first["figures"]["doubts_total"] == {"overflow": 1}
    assert first["figures"]["stage_seconds"]["publish"]["number"] == 1
    assert first["figures"]["root_state"] == {"1/online": 1.0}
    assert "attempts_total" not in second["figures"]
    assert (first["interval_s"], second["interval_s"]) == (70.0, 60.0)
