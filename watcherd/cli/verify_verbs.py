"""`watcherd verify`: whether the derivatives that the ledger names are there, and undamaged.

Responsible for: looking at them, having them decoded with --deep (in fenced workers of its own), and telling.
Not responsible for: making anything; the daemon does that, or a scan.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME, config_option, json_option, state_dir_option, state_directory

if TYPE_CHECKING:
    from watcherd.derivatives.condition import Condition
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Derivative, Entry
    from watcherd.naming import Names

_A_REQUEST = 100
_CHECK_SIDE = 64
_SAYS = {
    "missing": "it is missing",
    "damaged": "it is damaged",
    "outdated": "it is of an earlier content or recipe",
    "edited": "somebody has changed it, or another file has its name; it is left as it is",
}


@click.command()
@click.argument("paths", metavar="[PATH ...]", type=NAME, nargs=-1)
@click.option("--deep", is_flag=True, help="Also decode every derivative, in workers.")
@click.option("--dry-run", is_flag=True, help="Only tell; have nothing made again.")
@config_option
@state_dir_option
@json_option
def verify(
    paths: Sequence[str], config: str | None, state_dir: str | None, *, deep: bool, dry_run: bool, as_json: bool
) -> int:
    """Check that the derivatives of everything, or of what lies at or below PATH, are as they were written.

    What is missing, damaged or outdated is made again: by the daemon that runs, or else at once (then --config says by
    which settings). What somebody has edited is told of and left alone; exit code 3 says that there is such.
    """
    from watcherd.cli.query_verbs import open_to_read  # noqa: PLC0415 - not for --help

    folder = state_directory(state_dir)
    output = _Output(as_json=as_json)
    with open_to_read(folder) as ledger:
        findings = list(_findings(ledger, paths, output, deep=deep))
    repairs = [finding for finding in findings if finding.condition != "edited"]
    if repairs and not dry_run:
        _repair(repairs, folder, config)
    output.summary(repaired=0 if dry_run else len(repairs))
    return Exit.SOME_FAILED if len(repairs) < len(findings) or (dry_run and repairs) else Exit.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """A derivative that is not as it was written."""

    source: str
    variant: str
    path: str
    condition: "Condition"


@dataclass(slots=True, kw_only=True)
class _Output:
    """One line for each derivative that is not right, and a summary."""

    as_json: bool
    checked: int = 0
    conditions: Counter[str] = field(default_factory=Counter)

    def finding(self, found: _Finding) -> None:
        from watcherd.cli.asking import safe  # noqa: PLC0415 - not for --help

        self.conditions[found.condition] += 1
        if self.as_json:
            line = {"source": found.source, "variant": found.variant, "path": found.path}
            click.echo(json.dumps({"v": 1, "message_type": "derivative"} | line | {"condition": found.condition}))
        else:
            click.echo(f"{safe(found.path)}: {_SAYS[found.condition]}")

    def summary(self, *, repaired: int) -> None:
        counts = {"checked": self.checked, "conditions": dict(self.conditions), "made_again": repaired}
        if self.as_json:
            click.echo(json.dumps({"v": 1, "message_type": "summary"} | counts))
            return
        said = ", ".join(f"{number} {condition}" for condition, number in self.conditions.items())
        click.echo(f"{self.checked} derivatives: {said or 'all are right'}; {repaired} made again", err=True)


# ----------------------------------------------------------------------------------------------------------- looking


def _findings(ledger: "Ledger", paths: Sequence[str], output: _Output, *, deep: bool) -> Iterator[_Finding]:
    from watcherd.derivatives.condition import Condition  # noqa: PLC0415 - not for --help

    right: list[tuple[_Finding, Derivative]] = []
    with _workers(deep=deep) as pool:
        for entry, root, names in _entries(ledger, paths):
            for made in entry.derivatives:
                output.checked += 1
                found = _look(entry, made, root, names)
                if found.condition is not Condition.RIGHT:
                    output.finding(found)
                    yield found
                elif deep:
                    right.append((found, made))
            if len(right) >= _A_REQUEST:
                yield from _decoded(pool, right, output)
                right.clear()
        yield from _decoded(pool, right, output)


def _entries(ledger: "Ledger", paths: Sequence[str]) -> "Iterator[tuple[Entry, bytes, Names]]":
    """The finished sources at and below some paths, or all; each with its root's path and names."""
    from watcherd.cli.holding import links_of, located  # noqa: PLC0415 - not for --help
    from watcherd.daemon.roots.layouts import recorded_names  # noqa: PLC0415 - as above
    from watcherd.daemon.verbs.places import locate  # noqa: PLC0415 - as above
    from watcherd.model import Source  # noqa: PLC0415 - as above

    roots = ledger.roots()
    places = [Source(root, b"") for root in roots]
    if paths:
        links = links_of(ledger)
        found = [(path, locate(os.fsencode(located(path, links)), roots)) for path in paths]
        unknown = [path for path, place in found if place is None]
        if unknown:
            raise Stop(Exit.FAILED, f"{unknown[0]} is not below any folder that was watched or scanned")
        places = [place for _, place in found if place is not None]
    for place in places:
        names = recorded_names(place.root, ledger)
        entry = ledger.entry(place) if place.path else None
        sources = [place] if entry is not None else ledger.sources_below(place.root, place.path)
        for source in sources:
            known = ledger.entry(source)
            if known is not None and known.digest is not None and known.gone_at_s is None:
                yield known, roots[source.root], names


def _look(entry: "Entry", made: "Derivative", root: bytes, names: "Names") -> _Finding:
    from watcherd.derivatives.condition import condition, overall  # noqa: PLC0415 - not for --help

    paths = [os.path.join(root, path) for path in names.paths_of(entry.source.path, made.variant, layout=made.layout)]
    found = {path: condition(_standing(path), made, entry.digest or b"") for path in paths}
    worst = overall(found.values())
    path = next((path for path, one in found.items() if one is worst), paths[0] if paths else b"")
    source = os.fsdecode(os.path.join(root, entry.source.path))
    return _Finding(source=source, variant=made.variant, path=os.fsdecode(path), condition=worst)


def _standing(path: bytes) -> Any:  # noqa: ANN401  Standing, which is imported late
    from watcherd.derivatives.standing import look  # noqa: PLC0415 - not for --help

    folder, name = os.path.split(path)
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return look(directory, name)
    finally:
        os.close(directory)


def _workers(*, deep: bool) -> Any:  # noqa: ANN401  ImageProcessingPool or nothing
    if not deep:
        return nullcontext()
    from watcherd.pool.library.pool import ImageProcessingPool  # noqa: PLC0415 - not for --help

    return ImageProcessingPool(max_dimension=_CHECK_SIDE)


def _decoded(pool: Any, right: "list[tuple[_Finding, Derivative]]", output: _Output) -> Iterator[_Finding]:  # noqa: ANN401
    """Those that a worker cannot decode, or that are of another size than what was written."""
    from watcherd.derivatives.condition import Condition  # noqa: PLC0415 - not for --help
    from watcherd.pool.library.result import ImageProcessingError  # noqa: PLC0415 - as above

    if not right:
        return
    pictures = (_read(found.path) for found, _ in right)
    for (found, made), result in zip(right, pool.map(pictures), strict=True):
        sides = (made.width, made.height)
        if isinstance(result, ImageProcessingError) or (all(sides) and result.original_size != sides):
            damaged = replace(found, condition=Condition.DAMAGED)
            output.finding(damaged)
            yield damaged


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


# --------------------------------------------------------------------------------------------------------- repairing


def _repair(findings: Sequence[_Finding], folder: str, config: str | None) -> None:
    """Have everything made again; what is damaged is removed first, or it would be taken for right by its mark."""
    by_source: dict[str, list[str]] = {}
    for finding in findings:
        by_source.setdefault(finding.source, [])
        if finding.condition == "damaged":
            by_source[finding.source].append(finding.variant)
    sources = list(by_source)
    for start in range(0, len(sources), _A_REQUEST):
        batch = {source: by_source[source] for source in sources[start : start + _A_REQUEST]}
        _repair_batch(batch, folder, config)


def _repair_batch(batch: dict[str, list[str]], folder: str, config: str | None) -> None:
    from watcherd.cli.asking import answer_of  # noqa: PLC0415 - not for --help
    from watcherd.cli.scan_verbs import scan_files  # noqa: PLC0415 - as above

    if not config and answer_of(folder, {"verb": "status"}) is None:
        raise Stop(Exit.FAILED, "no daemon runs with this state directory: give --config FILE to have them made again")
    damaged = {source: variants for source, variants in batch.items() if variants}
    if damaged:
        request = {"verb": "discard", "paths": list(damaged), "variants": list(damaged.values())}
        answer = answer_of(folder, request)
        if answer is None:
            _discard_offline(damaged, folder)
        elif "error" in answer:
            raise Stop(Exit.FAILED, f"the daemon of {folder} refused: {answer['error']}")
    scan_files(list(batch), folder, config)


def _discard_offline(damaged: dict[str, list[str]], folder: str) -> None:
    from watcherd.cli.holding import hold, seen_roots  # noqa: PLC0415 - not for --help
    from watcherd.daemon.verbs.upkeep import discard_once  # noqa: PLC0415 - as above
    from watcherd.settings import RootSettings, Settings  # noqa: PLC0415 - as above

    roots = tuple(RootSettings(path=path) for path in sorted(seen_roots(folder)))
    with hold(folder) as state:
        discard_once(Settings(roots=roots), state, {os.fsencode(path): names for path, names in damaged.items()})
