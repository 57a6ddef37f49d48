"""Reloads of a real daemon: what was taken out is offered to `prune`, and workers follow the memory they may have."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.chaos.harness import QUICK_SETTLE, Daemon, command, eventually
from tests.chaos.pictures import fill
from watcherd.pool.sizing import address_space


def reload(daemon: Daemon, config: str) -> dict[str, list[str]]:
    """Have it work by another configuration; what it says of that."""
    (daemon.folder / "watcherd.toml").write_text(QUICK_SETTLE + config)
    done = command("reload", "--state-dir", daemon.state, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def roots(*folders: Path, more: str = "") -> str:
    return more + "".join(f'[[roots]]\npath = "{folder}"\n' for folder in folders)


def pruned(daemon: Daemon, *arguments: str | Path) -> dict[str, str]:
    """Why each file went, or would go, by its name."""
    done = command("prune", *arguments, "--json", "--state-dir", daemon.state)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {os.path.basename(one["path"]): one["why"] for one in lines if one["message_type"] == "derivative"}


def test_a_root_and_a_variant_that_a_reload_takes_out_are_pruned_while_the_daemon_runs(
    place: Path, daemon_at: Callable[..., Daemon]
) -> None:
    kept, leaving = place / "kept", place / "leaving"
    for number, folder in enumerate((kept, leaving)):
        folder.mkdir()
        fill(folder, 2, first=10 * number)
    daemon = daemon_at(config=roots(kept, leaving)).start()
    daemon.rested(sources=4)

    only_preview = "[variants.preview]\npreset = 'preview'\n"
    assert reload(daemon, roots(kept, more=only_preview))["removed"] == [str(leaving)]
    assert daemon.state_of(leaving / "p000010.jpg") == "done"  # its rows stay
    thumbnails = {f"p00000{number}.jpg.thumbnail.jpg" for number in range(2)}
    wanted = {"variant_removed"}
    assert set(pruned(daemon, "--dry-run")) == thumbnails
    assert set(pruned(daemon).values()) == wanted
    assert len(os.listdir(leaving)) == 6

    gone = pruned(daemon, "--root", leaving)
    assert (len(gone), set(gone.values())) == (4, {"root_removed"})
    assert sorted(os.listdir(leaving)) == ["p000010.jpg", "p000011.jpg"]
    assert sorted(os.listdir(kept)) == [f"p00000{n}.jpg{end}" for n in range(2) for end in ("", ".preview.jpg")]
    again = command("prune", "--root", leaving, "--state-dir", daemon.state)
    assert (again.returncode, "never watched" in again.stderr) == (1, True)
    watched = command("prune", "--root", kept, "--state-dir", daemon.state)
    assert (watched.returncode, "is watched" in watched.stderr) == (1, True)

    assert reload(daemon, roots(kept, leaving, more=only_preview))["added"] == [str(leaving)]
    daemon.rested(sources=4)
    assert len(os.listdir(leaving)) == 4


def most_memory(pid: int) -> str:
    """The limit on a process's address space, in bytes; a worker that is starting may have none yet."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max address space")).split()[3]


def test_workers_follow_the_memory_that_a_reload_gives_them(watched: Path, daemon_at: Callable[..., Daemon]) -> None:
    fill(watched, 4)
    daemon = daemon_at(config=roots(watched, more="[pool]\nmemory_bytes = 1073741824\n")).start()
    daemon.rested(sources=4)
    for given in (600 << 20, 2 << 30):  # an unprivileged process could not raise it again
        reload(daemon, roots(watched, more=f"[pool]\nmemory_bytes = {given}\n"))

        def follow(space: int = address_space(given)) -> bool:
            limits = {most_memory(worker.pid) for worker in daemon.workers()}
            return limits == {str(space)}

        eventually(follow, within_s=20, what=f"workers with {given} bytes for pictures")
    fill(watched, 4, first=10)
    daemon.rested(sources=8)
    assert daemon.stop() == 0
