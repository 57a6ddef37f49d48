"""A real daemon under test: started, stopped, stopped dead, and watched from outside.

Responsible for: the process, its log (a file for each run, parsed), its status, waiting with a bound. Not responsible
for: what is right (`audit.py` and the tests say). Nothing here looks into the daemon's memory.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.event_queue import short_queue

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("watcherd"))
SLOWNESS = float(os.environ.get("WATCHERD_CHAOS_SLOWNESS", "4"))
"""How many times slower than a quiet machine of two cores this one may be. Every wait's bound is multiplied by it: a
bound ends a test that fails, one that passes never comes to it."""
QUICK_SETTLE = "[settle]\nopen_quiet_s = 0.5\n"
"""For tests that are not about settling: what is found at the start was written a moment ago, and would wait 5 s."""
SUMMARY_KEYS = (
    "message_type", "sources", "rendered", "reused", "unchanged", "ignored", "incomplete", "rejected", "failed",
    "quarantined", "derivatives", "seconds",
)  # fmt: skip


def eventually(check: Callable[[], T], *, within_s: float, what: str, every_s: float = 0.05) -> T:
    """What `check` returns as soon as that is true; AssertionError with the last answer after that (see SLOWNESS)."""
    end = time.monotonic() + within_s * SLOWNESS
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise AssertionError(f"not within {within_s} s: {what}; last answer: {answer!r}")
        time.sleep(every_s)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, with the repository importable (for the faulty worker), and without what would point elsewhere."""
    unwanted = ("WATCHERD_", "NOTIFY_SOCKET", "STATE_DIRECTORY", "WATCHDOG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return kept | {"PYTHONPATH": str(REPOSITORY)} | dict(extra or {})


def command(*arguments: str | bytes | Path, within_s: float = 60.0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a verb of watcherd to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=within_s * SLOWNESS,
        check=False,
        env=environment(),
        **options,
    )


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line of `scan --json`."""
    return dict(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """How much a process did while nobody asked anything of it."""

    seconds: float
    main_wakeups: int
    all_wakeups: int
    cpu_s: float


@dataclass(slots=True)
class Daemon:
    """`watcherd run` on some roots, one run after another on the same state directory.

    `config` is the text of a configuration file, to which a quick settling is added; None: no file, all defaults.
    """

    folder: Path
    roots: Sequence[Path] = ()
    config: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = None
    _runs: int = 0

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.folder / "state"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The present run."""
        if self._process is None:
            raise AssertionError("the daemon was not started")
        return self._process

    @property
    def pid(self) -> int:
        """The present run's process."""
        return self.process.pid

    # ---- life

    def start(self, *, ready: bool = True) -> "Daemon":
        """Start a run; by default wait until it says that it is ready."""
        self._runs += 1
        arguments = [*self.prefix, COMMAND, "run", "--state-dir", str(self.state)]
        if self.config is not None:
            file = self.folder / "watcherd.toml"
            file.write_text(self.config if "[settle]" in self.config else QUICK_SETTLE + self.config)
            arguments += ["--config", str(file)]
        for root in self.roots:
            arguments += ["--watch", str(root)]
        with self._log(self._runs).open("wb") as log:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env=environment(self.extra),
            )
        if ready:
            self.wait_for("daemon.ready", within_s=20)
        return self

    def start_with_short_queue(self, events: int = 256, *, ready: bool = True) -> "Daemon":
        """Start a run whose observers' queues hold no more than these events."""
        with short_queue(events):
            self.start(ready=False)
            eventually(lambda: self._queues() >= len(self.roots), within_s=30, what="an observer for each root")
        if ready:
            self.wait_for("daemon.ready", within_s=20)
        return self

    def _queues(self) -> int:
        """How many inotify descriptors it has open."""
        folder = Path(f"/proc/{self.pid}/fd")
        found = 0
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):
                found += os.readlink(folder / name) == "anon_inode:inotify"
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal. What runs on another core stops a moment after SIGSTOP; this waits for that."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def ended(self, within_s: float = 30) -> int:
        """Its exit code, once it has one."""
        return self.process.wait(timeout=within_s * SLOWNESS)

    def stop(self, within_s: float = 30) -> int:
        """SIGTERM, and the exit code; no worker outlives it."""
        workers = self.workers()
        self.signal(signal.SIGTERM)
        code = self.ended(within_s)
        eventually(lambda: not any(map(_lives, workers)), within_s=5, what="workers end with their daemon")
        return code

    def kill(self) -> None:
        """SIGKILL, and wait until its workers have followed it (they must: nobody else ends them)."""
        workers = self.workers()
        self.signal(signal.SIGKILL)
        self.process.wait(timeout=10 * SLOWNESS)
        eventually(lambda: not any(map(_lives, workers)), within_s=10, what="workers end with their daemon")

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        try:
            return [child for child in psutil.Process(self.pid).children() if _lives(child)]
        except psutil.NoSuchProcess:
            return []

    def clean_up(self) -> None:
        """End whatever is left of it, by process id."""
        if self._process is None or self._process.poll() is not None:
            return
        workers = self.workers()
        self._process.kill()
        self._process.wait(timeout=10 * SLOWNESS)
        for worker in workers:
            if _lives(worker):  # not one that waits for its new parent's attention
                worker.kill()

    # ---- its log

    def _log(self, run: int) -> Path:
        return self.folder / f"log-{run}.jsonl"

    def raw(self, run: int | None = None) -> str:
        """The log of one run (the present one) as it was written."""
        return self._log(run or self._runs).read_text(errors="replace")

    def lines(self, event: str | None = None, *, run: int | None = None) -> list[dict[str, Any]]:
        """The log of one run (the present one). A last line that is still being written is left out."""
        text = self.raw(run)
        whole = text[: text.rfind("\n") + 1].split("\n")[:-1]
        parsed = [json.loads(line) if line.startswith("{") else {"event": "not json", "text": line} for line in whole]
        return [line for line in parsed if event is None or line["event"] == event]

    def all_lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """The logs of all runs."""
        return [line for run in range(1, self._runs + 1) for line in self.lines(event, run=run)]

    def wait_for(self, event: str, *, within_s: float, where: Callable[[dict[str, Any]], bool] | None = None) -> Any:
        """The first such line of this run, once there is one."""

        def found() -> list[dict[str, Any]]:
            if self.process.poll() is not None and event != "daemon.stopped":
                raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.raw()[-2000:]}")
            return [line for line in self.lines(event) if where is None or where(line)]

        try:
            return eventually(found, within_s=within_s, what=f"log line {event}")[0]
        except AssertionError as error:
            error.add_note(f"the log ends with:\n{self.raw()[-4000:]}")
            raise

    def outcomes(self, *, run: int | None = None) -> Counter[str]:
        """How the attempts of a run ended."""
        return Counter(line["outcome"] for line in self.lines("job.done", run=run))

    def rendered(self) -> Counter[str]:
        """How often each source was rendered, in all runs."""
        return Counter(line["source"] for line in self.all_lines("job.done") if line["outcome"] == "rendered")

    # ---- its status

    def status(self) -> dict[str, Any]:
        """`status --json`; empty while there is no ledger yet."""
        done = command("status", "--json", "--state-dir", self.state)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    def status_of(self, file: Path | bytes) -> dict[str, Any]:
        """`status FILE --json`; empty where it knows nothing."""
        done = command("status", file, "--json", "--state-dir", self.state)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    def state_of(self, file: Path | bytes) -> str:
        """The state of one file, empty where it is not known."""
        return str(self.status_of(file).get("state", ""))

    def at_rest(self, sources: int) -> dict[str, int] | None:
        """The counts by state if so many sources are known and none of them is still to do."""
        status = self.status()
        daemon = status.get("daemon")
        if not daemon:
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.raw()[-2000:]}")
            return None
        counts: dict[str, int] = status["sources"]
        busy = sum(daemon["queue"].values()) + len(daemon["in_hand"]) + daemon["waiting"] + counts["pending"]
        rest = daemon["settling"] <= counts["incomplete"] and not busy and sum(counts.values()) >= sources
        return counts if rest else None

    def rested(self, *, sources: int, within_s: float = 60) -> dict[str, int]:
        """The counts by state once so many sources are known and none is still to do."""
        end = time.monotonic() + within_s * SLOWNESS
        before = -1
        while True:
            now = self._log(self._runs).stat().st_size
            if now == before or time.monotonic() > end:  # asking costs a process: not while the log still grows
                counts = self.at_rest(sources)
                if counts is not None:
                    return counts
                if time.monotonic() > end:
                    text = f"{sources} sources are not at rest within {within_s} s: {self.status()}"
                    raise AssertionError(text + f"\n{self.raw()[-2000:]}")
            before = now
            time.sleep(0.4)

    def rest(self, seconds: float) -> Rest:
        """Watch it do nothing, without asking it anything."""
        before, started = _use(self.pid), time.monotonic()
        time.sleep(seconds)
        after, elapsed = _use(self.pid), time.monotonic() - started
        main, everyone, cpu = (b - a for a, b in zip(before, after, strict=True))
        return Rest(seconds=elapsed, main_wakeups=int(main), all_wakeups=int(everyone), cpu_s=cpu)


def _lives(process: psutil.Process) -> bool:
    """Whether a process has not ended; one that nobody has taken note of yet (a zombie) has."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _use(pid: int) -> tuple[float, float, float]:
    """(Voluntary context switches of the main thread, those of all threads, CPU seconds) of a process so far."""
    by_thread = {int(task): _switches(pid, task) for task in os.listdir(f"/proc/{pid}/task")}
    times = psutil.Process(pid).cpu_times()
    return by_thread[pid], sum(by_thread.values()), times.user + times.system


def _switches(pid: int, task: str) -> int:
    with open(f"/proc/{pid}/task/{task}/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))


def names(paths: Iterable[Path]) -> list[str]:
    """The file names, sorted."""
    return sorted(path.name for path in paths)
