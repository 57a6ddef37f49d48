"""The status as one screen of text, and the screen that goes on showing it.

Not responsible for: what is shown (`query_verbs.py`, `daemon/reporting/status.py`).
"""

import time
from collections.abc import Callable
from typing import Any

from watcherd.cli.asking import safe
from watcherd.cli.exits import Exit, Stop

_REFRESH_S = 1.0
_FAILURES_SHOWN = 8

Told = dict[str, Any]


def overall_text(told: Told) -> str:
    """Daemon, roots, queue, pace, workers, sources, what is not done and why."""
    daemon = told["daemon"]
    lines = [f"daemon: {_daemon(daemon, told.get('holder'))}"]
    alive = daemon if daemon and "error" not in daemon else None
    if alive:
        lines += _alerts(alive)
    for root in told["roots"]:
        lines.append(_root(root, alive["roots"].get(root["path"]) if alive else None))
        if (held := root.get("held")) is not None:
            since = f"{held['gone']} sources went at once before {held['since']}"
            lines.append(f"  brake: {since}; their derivatives are kept: `watcherd prune` removes them")
    if alive:
        lines += [_queue(alive), _pace(alive), *_workers(alive["workers"])]
    counts = [f"{number:,} {state}" for state, number in told["sources"].items() if number]
    lines.append(f"sources: {', '.join(counts) or 'none'}")
    reasons = [f"{one['sources']:,} {one['state']} ({one['reason']})" for one in told["failures_by_reason"]]
    lines += [f"not done: {', '.join(reasons)}"] if reasons else []
    for failure in told["failures"][:_FAILURES_SHOWN]:
        reason = f"{failure['reason']}: {failure['detail']}" if failure["detail"] else failure["reason"]
        lines.append(f"  {failure['state']}: {safe(failure['source'])}: {safe(reason)}")
    return "\n".join(lines)


def queue_text(told: Told) -> str:
    """What is in hand, what is next, and why."""
    daemon = told["daemon"]
    if daemon is None or "error" in daemon:
        why = daemon["error"] if daemon else "no daemon runs with this state directory"
        raise Stop(Exit.UNREACHABLE, f"{why}: only a running one has a queue")
    lines = [f"in hand: {safe(one['source'])} ({one['phase']}, {one['seconds']:.1f} s)" for one in daemon["in_hand"]]
    lines += [
        f"next: {safe(job['source'])} ({job['class']}: {job['why']}; waits for {job['waiting_s']:.1f} s)"
        for job in daemon["upcoming"]
    ]
    depth = ", ".join(f"{number} {job_class}" for job_class, number in daemon["queue"].items() if number)
    lines.append(
        f"queued in memory: {depth or 'nothing'}; settling: {daemon['settling']}; waiting: {daemon['waiting']}"
    )
    return "\n".join(lines)


def follow(text: Callable[[], str]) -> None:
    """Show a text again and again on the terminal, until Ctrl-C."""
    from rich.live import Live  # noqa: PLC0415 - only on a terminal
    from rich.text import Text  # noqa: PLC0415 - as above

    with Live(Text(text()), screen=True, auto_refresh=False) as live:
        while True:
            live.update(Text(text(), no_wrap=True, overflow="ellipsis"), refresh=True)
            time.sleep(_REFRESH_S)


# --------------------------------------------------------------------------------------------------------------- lines


def _daemon(daemon: Told | None, holder: str | None) -> str:
    if daemon is None and holder:
        what = "a one-shot scan, or a daemon without its control.sock"
        return f"none answers, but process {safe(holder)} works here: {what}"
    if daemon is None:
        return "not running"
    if "error" in daemon:
        return safe(str(daemon["error"]))
    return f"pid {daemon['pid']}, up for {length(daemon['uptime_s'])}; {safe(daemon['summary'])}"


def _alerts(daemon: Told) -> list[str]:
    reload = daemon.get("reload")
    errors = [f"  {safe(error)}" for error in reload["errors"]] if reload else []
    waiting = [f"  needs a restart: {', '.join(reload['restart'])}"] if reload and reload["restart"] else []
    paused = {path: until for path, until in daemon["pauses"]["paused_until_s"].items() if path != "*"}
    return [*errors, *waiting, *(f"  paused{_until(until)}: {safe(path)}" for path, until in paused.items())]


def _until(until_s: float | None) -> str:
    return time.strftime(" until %Y-%m-%d %H:%M:%S", time.localtime(until_s)) if until_s else ""


def _root(root: Told, now: Told | None) -> str:
    sources = f"{sum(root['sources'].values()):,} sources"
    if now is None:
        return f"root: {safe(root['path'])}, {sources}"
    reason = f": {now['reason']}" if now["reason"] else ""
    mode = f", {now['mode']}{' (' + now['mode_reason'] + ')' if now['mode_reason'] else ''}"
    scan = now["last_scan"]
    ago = f"; compared {length(max(0.0, time.time() - scan['at_s']))} ago" if scan else ""
    unreadable = f", {scan['unreadable']} could not be looked at" if scan and scan["unreadable"] else ""
    away = f"; its disk is away: {', '.join(now['disks_away'])}" if now.get("disks_away") else ""
    left = "".join(f"; link {link} is not followed: {why}" for link, why in now.get("links_left", {}).items())
    return (
        f"root: {safe(root['path'])} [{now['state']}{safe(reason)}]{safe(mode)}, {sources}{ago}{unreadable}"
        f"{safe(away)}{safe(left)}"
    )


def _queue(daemon: Told) -> str:
    lanes = [
        f"{number:,} {job_class} (oldest {length(daemon['oldest_s'].get(job_class, 0.0))})"
        for job_class, number in daemon["queue"].items()
        if number
    ]
    growing = f" ({daemon['growing']} growing)" if daemon["growing"] else ""
    return (
        f"queue: {', '.join(lanes) or 'empty'}; {daemon['settling']} settling{growing}, "
        f"{daemon['waiting']} waiting for a retry or for memory"
    )


def _pace(daemon: Told) -> str:
    pace = daemon["pace"]
    if not pace["left"]:
        return "pace: nothing is queued" if daemon["settling"] else "pace: nothing is left to do"
    left_s = pace["time_left_s"]
    left = f"about {length(left_s)}" if left_s is not None else "nothing has ended in the last minutes"
    return f"pace: {pace['per_s']:.1f} a second; {pace['left']:,} left: {left}"


def _workers(workers: Told) -> list[str]:
    trouble = f"; {safe(workers['trouble'])}" if workers["trouble"] else ""
    degraded = "; degraded" if workers["degraded"] else ""
    missing = workers["missing_layers"]
    lines = [f"workers: {workers['running']} of {workers['most']}{degraded}{trouble}"]
    lines += [f"sandbox: without {', '.join(missing)}"] if missing else []
    for one in workers["each"]:
        holds = f", {one['phase']} {safe(one['source'])} for {one['seconds']:.1f} s" if one["source"] else ""
        lines.append(f"  {one['slot']}: pid {one['pid']}, {one['state']}, {one['rss_bytes'] >> 20} MiB{holds}")
    return lines


def length(seconds: float) -> str:
    """A length of time in its two largest units: `3 d 4 h`, `2 min 5 s`, `0.4 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size or parts:
            parts.append(f"{left // size} {unit}")
            left %= size
        if len(parts) == 2:
            break
    return " ".join(parts)
