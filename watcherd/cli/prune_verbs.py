"""`watcherd prune`."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME, config_option, json_option, state_dir_option, state_directory

if TYPE_CHECKING:
    from watcherd.daemon.verbs.pruning import Finding, Scope
    from watcherd.daemon.verbs.upkeep import Report
    from watcherd.settings import Settings

_WHY = {
    "source_gone": "its source is gone (one of many, held back by the brake)",
    "variant_removed": "its variant is not configured any more",
    "root_removed": "its folder is not watched any more",
    "orphan": "no source is there or known",
}
_FATES = {
    "done": "removed",
    "dry_run": "would be removed",
    "missing": "was not there",
    "foreign": "kept: it is not as watcherd wrote it",
    "failed": "could not be removed",
    "taken": "kept",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option(
    "--root",
    "roots",
    metavar="DIR",
    type=NAME,
    multiple=True,
    help="A folder that is not watched any more: remove all its derivatives, and forget it. Or one in a watched one, "
    "whose disk will not be mounted again: what lay on that counts as deleted then. May be repeated.",
)
@config_option
@state_dir_option
@json_option
def prune(roots: Sequence[str], config: str | None, state_dir: str | None, *, dry_run: bool, as_json: bool) -> int:
    """Remove derivatives that are not needed any more, as long as they are as watcherd wrote them.

    Those are: what the brake on mass deletions holds back (this confirms the deletions), derivatives of variants that
    are not configured any more, and files with watcherd's mark whose source is gone. A running daemon does it; without
    one, --config says which variants there are, and without that no variant counts as taken out.
    """
    folder = state_directory(state_dir)
    output = _Output(as_json=as_json)
    paths = _without_disks(roots, folder, dry_run=dry_run)
    if roots and not paths:
        return Exit.OK
    report = _by_daemon(folder, output, paths, dry_run=dry_run)
    if report is None and paths:
        report = _of_roots(paths, folder, output, dry_run=dry_run)
    if report is None:
        report = _by_ourselves(config, folder, output, dry_run=dry_run)
    output.summary(report)
    return Exit.FAILED if report.failed or report.skipped else Exit.OK


@dataclass(slots=True, kw_only=True)
class _Output:
    """One line a file, as text or as JSON; a summary at the end."""

    as_json: bool
    fates: Counter[str] = field(default_factory=Counter)

    def finding(self, told: dict[str, str]) -> None:
        from watcherd.cli.asking import safe  # noqa: PLC0415 - not for --help

        self.fates[told["fate"]] += 1
        if self.as_json:
            click.echo(json.dumps({"v": 1, "message_type": "derivative"} | told))
        else:
            click.echo(f"{safe(told['path'])}: {_FATES[told['fate']]}: {_WHY[told['why']]}")

    def summary(self, report: "Report") -> None:
        if self.as_json:
            counts = {"fates": dict(self.fates), "skipped_roots": list(report.skipped)}
            click.echo(json.dumps({"v": 1, "message_type": "summary"} | counts))
            return
        said = ", ".join(f"{number} {_FATES[fate]}" for fate, number in self.fates.items())
        click.echo(said or "nothing to prune", err=True)
        for path in report.skipped:
            click.echo(f"{path} is not there or cannot be read: nothing was done in it", err=True)


def _by_daemon(folder: str, output: _Output, roots: Sequence[str], *, dry_run: bool) -> "Report | None":
    from watcherd.daemon.control import Unreachable, ask  # noqa: PLC0415 - not for --help
    from watcherd.daemon.statedir import StateDirectory  # noqa: PLC0415 - as above
    from watcherd.daemon.verbs.upkeep import Report  # noqa: PLC0415 - as above

    control = StateDirectory(folder).control
    if not os.path.exists(control):
        return None

    def frame(body: dict[str, Any]) -> None:
        output.finding(body["finding"])

    try:
        answer = ask(control, {"verb": "prune", "dry_run": dry_run, "roots": list(roots)}, frame)
    except Unreachable:
        return None
    if "error" in answer:
        raise Stop(Exit.FAILED, f"the daemon of {folder} refused: {answer['error']}")
    return Report(skipped=tuple(answer["skipped"]), failed=answer["failed"])


def _by_ourselves(config: str | None, folder: str, output: _Output, *, dry_run: bool) -> "Report":
    from watcherd import config as configuration  # noqa: PLC0415 - not for --help
    from watcherd.cli.holding import seen_roots  # noqa: PLC0415 - as above
    from watcherd.daemon.verbs.pruning import Scope  # noqa: PLC0415 - as above
    from watcherd.settings import RootSettings, Settings  # noqa: PLC0415 - as above

    settings = configuration.load(config) if config else Settings()
    if not config:
        settings = replace(settings, roots=tuple(RootSettings(path=path) for path in sorted(seen_roots(folder))))
    if not settings.roots:
        raise Stop(Exit.FAILED, f"no folder is known in {folder}: nothing ran with this state directory yet")
    scope = Scope.ALL if config else Scope.WITHOUT_VARIANTS
    return _held(settings, folder, scope, output, dry_run=dry_run)


def _without_disks(paths: Sequence[str], folder: str, *, dry_run: bool) -> list[str]:
    """Forget the disks among these paths; the next comparison finds what lay on them missing. Gives the other paths."""
    from watcherd.cli.holding import hold, seen_disks  # noqa: PLC0415 - not for --help
    from watcherd.ledger.ledger import Ledger  # noqa: PLC0415 - as above

    disks, places = seen_disks(folder), [os.path.realpath(path) for path in paths]
    forgotten = [disks[path] for path in places if path in disks]
    if forgotten and not dry_run:
        with hold(folder) as state, Ledger.open(state.ledger) as ledger:
            for root, directory in forgotten:
                ledger.set_mount(root, directory, None)
            ledger.commit()
    for path in (path for path in places if path in disks):
        said = "would count" if dry_run else "counts"
        click.echo(f"{path}: what lay on the disk there {said} as deleted from the next start on", err=True)
    return [path for path in places if path not in disks]


def _of_roots(roots: Sequence[str], folder: str, output: _Output, *, dry_run: bool) -> "Report":
    """Prune folders that are not watched any more."""
    from watcherd.cli.holding import seen_roots  # noqa: PLC0415 - not for --help
    from watcherd.daemon.verbs.pruning import Scope  # noqa: PLC0415 - as above
    from watcherd.settings import RootSettings, Settings  # noqa: PLC0415 - as above

    known = seen_roots(folder)
    for path in roots:
        if path not in known:
            raise Stop(Exit.USAGE, f"{path} was never watched with the state directory {folder}")
    settings = Settings(roots=tuple(RootSettings(path=path) for path in roots))
    return _held(settings, folder, Scope.WHOLE_ROOT, output, dry_run=dry_run)


def _held(settings: "Settings", folder: str, scope: "Scope", output: _Output, *, dry_run: bool) -> "Report":
    from watcherd import config as configuration  # noqa: PLC0415 - not for --help
    from watcherd.cli.holding import hold, seen_roots  # noqa: PLC0415 - as above
    from watcherd.daemon.verbs.upkeep import prune_once, told  # noqa: PLC0415 - as above
    from watcherd.settings import LogLevel  # noqa: PLC0415 - as above
    from watcherd.telemetry.log import configure  # noqa: PLC0415 - as above

    configure(replace(settings.log, level=LogLevel.WARNING))
    known = seen_roots(folder)
    checked = configuration.validate(settings, folder, origin="prune", may_be_missing=known)

    def tell(finding: "Finding") -> None:
        output.finding(told(finding))

    with hold(folder) as state:
        return prune_once(checked, state, checked.roots, scope, dry_run=dry_run, tell=tell)
