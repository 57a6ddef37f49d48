"""What a reload changes in the daemon as it runs: time, limits, workers, retries, deletions. One test a setting.

Those of single roots are in `test_live_roots.py`. Each begins with a value by which the test could not pass.
"""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.outside import File
from tests.daemon.reload.running import SHOWN, Running, running, shows
from watcherd.daemon.effects import AskScanner
from watcherd.daemon.ending import Ending
from watcherd.daemon.reload.reach import REACH, Reach
from watcherd.daemon.reporting.metrics_line import MetricsLine
from watcherd.daemon.signals import Signalled
from watcherd.daemon.sources.safety import Safety
from watcherd.model import ChangeKind, Incomplete, Reason, Rejected, Source, State
from watcherd.pool.sizing import address_space
from watcherd.pool.slots import Idle, Resting
from watcherd.settings import Durability, LogFormat, LogLevel, ModeWanted, QuietWork
from watcherd.watch.hands.hands import Fetch
from watcherd.watch.reports import Manner

DAY_S = 86_400.0
NOON = ("12:00-13:00",)
NOW_OF_THE_WORLD = ("08:00-12:00",)  # it is 08:16 there


def test_every_live_setting_is_shown_at_work() -> None:
    importlib.import_module("tests.daemon.reload.test_live_roots")
    assert set(SHOWN) == {name for name, how in REACH.items() if how is Reach.LIVE}


def put(daemon: Running, name: bytes = b"a.jpg", content: bytes = b"picture") -> None:
    daemon.put(name, content)


# --------------------------------------------------------------------------------------------------------------- settle


@shows("settle.closed_quiet_s")
def test_an_upload_that_was_closed_rests_so_long(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.reload(settle={"closed_quiet_s": 3.0})
        put(daemon)
        daemon.run(2.9)
        assert daemon.rendered == []
        daemon.run(0.2)
        assert daemon.rendered == [b"picture"]


@shows("settle.open_quiet_s")
def test_an_upload_of_which_no_end_was_seen_rests_so_long(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.reload(settle={"open_quiet_s": 20.0})
        daemon.disk[b"a.jpg"] = File(b"picture", daemon.stamp_of(b"picture"))
        daemon.tell(ChangeKind.CREATED, b"a.jpg")
        daemon.run(19.0)
        assert daemon.rendered == []
        daemon.run(2.0)
        assert daemon.rendered == [b"picture"]


@shows("settle.network_quiet_s")
def test_an_upload_on_a_network_file_system_rests_so_long(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.reload(settle={"network_quiet_s": 30.0})
        daemon.core.roots[daemon.root] = replace(daemon.core.roots[daemon.root], network=True)
        put(daemon)
        daemon.run(29.0)
        assert daemon.rendered == []
        daemon.run(2.0)
        assert daemon.rendered == [b"picture"]


@shows("settle.max_wait_s")
def test_an_upload_that_never_rests_is_tried_after_so_long(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.reload(settle={"max_wait_s": 5.0})
        for number in range(30):
            put(daemon, content=b"picture %02d" % number)
            daemon.run(0.3)
        assert daemon.rendered


@shows("settle.incomplete_grace_s")
def test_an_incomplete_upload_is_waited_for_so_long(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.plays[b"picture"] = Incomplete(reason=Reason.TRUNCATED, detail="cut off")
        daemon.reload(settle={"incomplete_grace_s": 100.0})
        put(daemon)
        daemon.run(90.0)
        assert daemon.rendered == []
        daemon.run(30.0)
        assert daemon.rendered == [b"picture"]


# --------------------------------------------------------------------------------------------------------------- limits


@shows("limits.max_bytes", "limits.max_pixels", "limits.max_side", "limits.max_frames")
@pytest.mark.parametrize("key", ["max_bytes", "max_pixels", "max_side", "max_frames"])
def test_what_a_limit_refused_is_tried_by_the_other_limit(tmp_path: Path, key: str) -> None:
    with running(tmp_path) as daemon:
        daemon.plays[b"picture"] = Rejected(reason=Reason.TOO_MANY_PIXELS, detail="200 MP")
        put(daemon)
        daemon.run()
        assert daemon.entry(b"a.jpg").state is State.REJECTED
        daemon.plays.clear()

        done = daemon.reload(limits={key: 77})
        assert done.effects == (AskScanner(root=daemon.root, directory=b""),)
        daemon.scan(b"a.jpg")
        daemon.run()

        assert daemon.entry(b"a.jpg").state is State.DONE
        assert getattr(daemon.works[-1].limits, key) == 77
        fetches = [request for request in daemon.requests if isinstance(request, Fetch)]
        assert fetches[-1].max_bytes == daemon.core.settings.limits.max_bytes


# ----------------------------------------------------------------------------------------------------------------- pool


def three_at_once(daemon: Running) -> None:
    for content in (b"1", b"2", b"3"):
        daemon.slow.add(content)
        put(daemon, b"%s.jpg" % content, content)
    daemon.run(3.0)


@shows("pool.workers")
def test_as_many_work_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        three_at_once(daemon)
        assert daemon.core.fleet.busy() == 1
        daemon.reload(pool={"workers": 3})
        daemon.run(1.0)
        assert daemon.core.fleet.busy() == 3
        daemon.reload(pool={"workers": 2})
        for content in (b"1", b"2", b"3"):
            daemon.release(content)
        daemon.run(1.0)
        assert len(daemon.workers) == 2


@shows("pool.cpu_limit")
def test_workers_rest_for_the_share_of_the_processors(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.cpu_s = 5.0
        put(daemon)
        daemon.run(2.0)
        assert isinstance(daemon.core.fleet.slots[0], Idle)
        daemon.reload(pool={"cpu_limit": 0.1 / daemon.parts.machine.cores})
        put(daemon, b"b.jpg", b"another")
        daemon.run(2.0)
        assert isinstance(daemon.core.fleet.slots[0], Resting)


@shows("pool.memory_bytes")
def test_jobs_share_so_much_memory_and_no_worker_may_have_more(tmp_path: Path) -> None:
    with running(tmp_path, pool={"workers": 2, "memory_bytes": 4 << 30}) as daemon:
        daemon.run(1.0)
        before = {worker.pid for worker in daemon.workers.values()}
        daemon.reload(pool={"memory_bytes": 500 << 20})
        daemon.run(1.0)
        assert daemon.parts.workers.memory_bytes == address_space(500 << 20)
        assert not before & {worker.pid for worker in daemon.workers.values()}
        assert daemon.core.totals.worker_ends == {"outdated": 1}

        for content in (b"1", b"2"):
            daemon.slow.add(content)
            daemon.costs[content] = 300 << 20
            put(daemon, b"%s.jpg" % content, content)
        daemon.run(3.0)
        assert daemon.core.admission.used_bytes < 500 << 20
        daemon.release(b"1")
        daemon.release(b"2")
        daemon.run(3.0)
        daemon.release(b"1")
        daemon.release(b"2")
        daemon.run(3.0)
        assert sorted(daemon.rendered) == [b"1", b"2"]


def test_a_worker_in_the_middle_of_a_job_is_replaced_after_it(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.slow.add(b"picture")
        put(daemon)
        daemon.run(2.0)
        daemon.reload(pool={"memory_bytes": 3 << 30})
        daemon.run(2.0)
        assert daemon.core.fleet.busy() == 1
        daemon.release(b"picture")
        daemon.run(2.0)
        assert daemon.rendered == [b"picture"]
        assert daemon.core.totals.worker_ends == {"outdated": 1}


@shows("pool.recycle_after_jobs")
def test_a_worker_leaves_after_so_many_jobs(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.reload(pool={"recycle_after_jobs": 1})
        put(daemon)
        daemon.run(2.0)
        assert daemon.core.totals.worker_ends == {"worn": 1}


@shows("pool.recycle_above_bytes")
def test_a_worker_leaves_above_that_size(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.reload(pool={"recycle_above_bytes": 10 << 20})
        put(daemon)
        daemon.run(2.0)
        assert daemon.core.totals.worker_ends == {"bloated": 1}


@shows("pool.timeout_s")
def test_a_job_may_take_so_long(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.slow.add(b"picture")
        daemon.reload(pool={"timeout_s": 5.0})
        put(daemon)
        daemon.run(50.0)  # 5 s, and 36 s for its pixels
        assert daemon.core.totals.worker_ends == {"hung": 1}


@shows("pool.boot_timeout_s")
def test_a_worker_may_take_so_long_to_get_ready(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.mute = True
        daemon.reload(pool={"boot_timeout_s": 2.0})
        daemon.run(2.5)
        assert daemon.core.totals.worker_ends == {"boot_failed": 1}


# ---------------------------------------------------------------------------------------------------------------- retry


@shows("retry.max_faults")
def test_a_source_is_tried_so_often_in_spite_of_its_faults(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.plays[b"picture"] = "SIGSEGV"
        daemon.reload(retry={"max_faults": 1})
        put(daemon)
        daemon.run(3.0)
        assert daemon.entry(b"a.jpg").state is State.QUARANTINED
        assert len(daemon.works) == 1


@shows("retry.max_interruptions")
def test_a_source_is_tried_so_often_in_spite_of_kills(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.plays[b"picture"] = "SIGKILL"
        daemon.reload(retry={"max_interruptions": 2})
        put(daemon)
        daemon.run(600.0)
        assert daemon.entry(b"a.jpg").state is State.QUARANTINED
        assert len(daemon.works) == 2


@shows("retry.first_delay_s")
def test_the_first_retry_comes_after_so_long(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.plays[b"picture"] = "SIGSEGV"
        daemon.reload(retry={"first_delay_s": 200.0})
        put(daemon)
        daemon.run(90.0)
        assert len(daemon.works) == 1
        daemon.run(120.0)
        assert len(daemon.works) == 2


@shows("retry.max_delay_s")
def test_no_retry_comes_later_than_that(tmp_path: Path) -> None:
    with running(tmp_path, retry={"first_delay_s": 400.0}) as daemon:
        daemon.plays[b"picture"] = "SIGSEGV"
        daemon.reload(retry={"max_delay_s": 10.0})
        put(daemon)
        daemon.run(12.0)
        assert len(daemon.works) == 2


# --------------------------------------------------------------------------------------------------------------- daemon


def derivatives(daemon: Running) -> int:
    return sum(name.endswith((b".thumbnail.jpg", b".preview.jpg")) for name in daemon.disk)


def ten_uploads(daemon: Running) -> None:
    for number in range(10):
        put(daemon, b"%02d.jpg" % number, b"picture %d" % number)
    daemon.run(3.0)
    assert derivatives(daemon) == 20


def lose_six(daemon: Running) -> None:
    for number in range(6):
        daemon.delete(b"%02d.jpg" % number)
    daemon.run(120.0)


@shows("daemon.forget_after_s")
def test_derivatives_go_so_long_after_their_source(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        put(daemon)
        daemon.run(2.0)
        daemon.delete(b"a.jpg")
        daemon.run(1.0)
        daemon.reload(daemon={"forget_after_s": 5.0})
        daemon.run(7.0)
        assert daemon.disk == {}


def test_derivatives_are_kept_for_longer_although_their_source_went_before(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        put(daemon)
        daemon.run(2.0)
        daemon.delete(b"a.jpg")
        daemon.run(30.0)
        daemon.reload(daemon={"forget_after_s": 600.0})
        daemon.run(500.0)
        assert derivatives(daemon) == 2
        daemon.run(100.0)
        assert daemon.disk == {}


@shows("daemon.brake_share", "daemon.brake_floor")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"brake_share": 1.0, "brake_floor": 3}, {"brake_share": 0.5}),
        ({"brake_share": 0.5, "brake_floor": 100}, {"brake_floor": 3}),
    ],
    ids=["share", "floor"],
)
def test_the_brake_holds_from_there_on(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    with running(tmp_path, daemon=before) as daemon:
        ten_uploads(daemon)
        daemon.reload(daemon=after)
        lose_six(daemon)
        assert derivatives(daemon) == 20


@shows("daemon.brake_grace_s")
def test_the_brake_holds_so_long(tmp_path: Path) -> None:
    with running(tmp_path, daemon={"brake_share": 0.5, "brake_floor": 3}) as daemon:
        ten_uploads(daemon)
        lose_six(daemon)
        daemon.reload(daemon={"brake_grace_s": 4_000.0})
        daemon.run(3_700.0)
        assert derivatives(daemon) == 20
        daemon.run(400.0)
        assert derivatives(daemon) == 8


@shows("daemon.quiet_hours", "daemon.quiet_hours_allow")
def test_in_the_quiet_hours_only_that_work_is_begun(tmp_path: Path) -> None:
    with running(tmp_path, daemon={"quiet_hours": NOON}) as daemon:
        daemon.pausing.due(daemon.moment)
        daemon.reload(daemon={"quiet_hours": NOW_OF_THE_WORLD})
        put(daemon)
        daemon.run(20.0)
        assert daemon.rendered == []
        daemon.reload(daemon={"quiet_hours_allow": QuietWork.UPLOADS})
        daemon.run(1.0)
        assert daemon.rendered == [b"picture"]


@shows("daemon.rescan_interval_s")
def test_a_quick_sweep_comes_so_long_after_the_last(tmp_path: Path) -> None:
    with running(tmp_path, roots={"mode": ModeWanted.NATIVE}) as daemon:
        daemon.watchers.watch(daemon.root)
        daemon.watchers.pass_test()
        daemon.reload(daemon={"rescan_interval_s": 100.0})
        assert daemon.watchers.wait(99.0) == []
        assert daemon.watchers.wait(2.0) == [Manner.QUICK_SWEEP]


@shows("daemon.full_scan_interval_s")
def test_a_full_sweep_comes_so_long_after_the_last(tmp_path: Path) -> None:
    with running(tmp_path, roots={"mode": ModeWanted.NATIVE}, daemon={"rescan_interval_s": 0.0}) as daemon:
        daemon.watchers.watch(daemon.root)
        daemon.watchers.pass_test()
        daemon.reload(daemon={"full_scan_interval_s": 100.0})
        assert daemon.watchers.wait(99.0) == []
        assert daemon.watchers.wait(2.0) == [Manner.SWEEP]


@shows("daemon.scan_rate")
def test_a_sweep_reads_so_many_entries_a_second(tmp_path: Path) -> None:
    with running(tmp_path, daemon={"scan_rate": 1}) as daemon:
        for number in range(4):
            folder = Path(daemon.photos) / str(number)
            folder.mkdir()
            for name in range(50):
                (folder / f"{name}.txt").touch()
        daemon.reload(daemon={"scan_rate": 0})
        assert len(daemon.scan_files()) == 200  # by the rate before, no word comes for 50 s after each folder


@shows("daemon.durability")
def test_derivatives_wait_for_the_disk_or_do_not(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        safety = Safety(daemon.core, lambda _: None)
        assert not safety.begun(Source(daemon.root, b"a.jpg"))
        daemon.reload(daemon={"durability": Durability.FAST})
        assert safety.begun(Source(daemon.root, b"a.jpg"))
        assert [row.source.path for row in daemon.ledger.unsynced(daemon.root)] == [b"a.jpg"]


@shows("daemon.metrics_interval_s")
def test_the_figures_are_written_so_often(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path) as daemon:
        line = MetricsLine(daemon.core, daemon.parts.workers)
        line.due(daemon.moment)
        daemon.reload(daemon={"metrics_interval_s": 5.0})
        for _ in range(11):
            line.due(daemon.moment)
            daemon.now += 1.0
        said = [json.loads(one) for one in capsys.readouterr().err.splitlines() if "pool.metrics" in one]
        assert [one["interval_s"] for one in said] == [5.0, 5.0]


class Silent:
    """Stands for the service manager, and for the loop."""

    stall = None

    def stopping(self) -> None:
        """Nobody hears it."""

    def carry_out(self, _: object) -> None:
        """Nothing is outside."""


@shows("daemon.drain_timeout_s")
def test_the_end_is_waited_for_so_long(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        outside: Any = Silent()
        ending = Ending(daemon.core, outside, outside)
        daemon.slow.add(b"picture")
        put(daemon)
        daemon.run(2.0)
        daemon.reload(daemon={"drain_timeout_s": 7.0})
        ending.signalled(Signalled(number=15), daemon.moment)
        assert ending.due(daemon.moment) == daemon.now + 7.0


# ------------------------------------------------------------------------------------------------------- log, variants


@shows("log.level")
def test_what_is_less_severe_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path) as daemon:
        daemon.reload(log={"level": LogLevel.WARNING, "format": LogFormat.JSON})
        capsys.readouterr()
        put(daemon)
        daemon.run()
        assert daemon.rendered
        assert capsys.readouterr().err == ""


@shows("log.format")
def test_lines_are_written_in_that_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path, log={"format": LogFormat.JSON}) as daemon:
        daemon.reload(log={"format": LogFormat.CONSOLE})
        capsys.readouterr()
        put(daemon)
        daemon.run()
        (line,) = [one for one in capsys.readouterr().err.splitlines() if "job.done" in one]
        assert not line.startswith("{")
