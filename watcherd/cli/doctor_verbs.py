"""`watcherd doctor`: what this installation can do, what it lacks, and how that is mended."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from watcherd.cli.exits import Exit
from watcherd.cli.options import NAME, config_option, json_option, state_dir_option, state_directory

if TYPE_CHECKING:
    from watcherd.daemon.doctor.check import Check


@click.command()
@config_option
@click.option(
    "--watch", metavar="DIR", type=NAME, multiple=True, help="Look at this root too; may be given several times."
)
@state_dir_option
@json_option
def doctor(config: str | None, watch: Sequence[str], state_dir: str | None, *, as_json: bool) -> int:
    """Check this installation by trying it, and say how to mend what is wrong.

    A picture of each kind is decoded and one of each format written, in a real worker behind its sandbox; limits of the
    system, configuration, ledger and roots are looked at. Run it as the daemon's user. Nothing is changed.

    Exit code 1 if a check fails; what only could be better is a warning.
    """
    from watcherd.cli.holding import seen_mirrors, seen_roots  # noqa: PLC0415 - not for --help
    from watcherd.daemon.doctor.check import Finding  # noqa: PLC0415 - as above
    from watcherd.daemon.doctor.checks import checks  # noqa: PLC0415 - as above

    made = []
    folder = state_directory(state_dir)
    seen = seen_roots(folder) | seen_mirrors(folder)
    for number, check in enumerate(checks(folder, config, watch, seen=seen), start=1):
        made.append(check)
        if not as_json:
            click.echo(_text(number, check))
    if as_json:
        click.echo(json.dumps({"v": 1, "checks": [_told(number, one) for number, one in enumerate(made, start=1)]}))
    return Exit.FAILED if any(check.finding is Finding.FAIL for check in made) else Exit.OK


def _text(number: int, check: "Check") -> str:
    from watcherd.cli.asking import safe  # noqa: PLC0415 - not for --help

    mend = f"\n          mend: {safe(check.mend)}" if check.mend else ""
    return f"{number}. {check.finding.upper():4}  {check.name}: {safe(check.detail)}{mend}"


def _told(number: int, check: "Check") -> dict[str, object]:
    return {
        "number": number,
        "check": check.name,
        "result": check.finding.value,
        "detail": check.detail,
        "mend": check.mend,
        "items": dict(check.items),
    }
