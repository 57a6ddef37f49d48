"""The manual pages, made from what they describe.

watcherd(1) is made from the verbs and their options, watcherd.toml(5) from the example configuration: neither can say
anything else than the program does. Not responsible for: where they are put (`watcherd.service`).

The pages are written in the man macros of roff, groff_man(7).
"""

import re
from collections.abc import Iterator, Mapping

import click

from watcherd import __version__
from watcherd.cli.completing import VARIABLE
from watcherd.cli.exits import Exit

_RULE = re.compile(r"#? ?-{20,} (?P<title>[a-z]+)\Z")
_SETTING = re.compile(r"(?:# )?(?P<setting>[a-z_]+ = (?:\"[^\"]*\"|\[[^\]]*\]|[^#\s]+))\s*(?:# (?P<text>.*))?\Z")
_TABLE = re.compile(r"(?:# )?(?P<table>\[{1,2}[a-z._-]+\]{1,2})\s*(?:# (?P<text>.*))?\Z")
_INDENTED = re.compile(r"#  +[^ #]{1,20} ")
"""A line of a list or of a command: it stays a line of its own."""

_MEANINGS = {
    Exit.OK: "Done.",
    Exit.FAILED: "Failed; the text says what.",
    Exit.USAGE: "Wrong usage.",
    Exit.SOME_FAILED: "Done, but some files were rejected, incomplete, failed or quarantined.",
    Exit.UNREACHABLE: "No daemon answers.",
    Exit.BUSY: "Another instance is at work.",
    Exit.CONFIGURATION: "The configuration is wrong.",
    Exit.INTERRUPTED: "Interrupted.",
}
_FILES = {
    "/etc/watcherd/config.toml": "The configuration of the service, watcherd.toml(5).",
    "/var/lib/watcherd": "What the service knows: its ledger, its lock, its control socket (--state-dir).",
    "~/.local/state/watcherd": "The same of a daemon that somebody runs by hand.",
}


# ---------------------------------------------------------------------------------------------------------- watcherd(1)


def command_page() -> str:
    """watcherd(1), as roff."""
    from watcherd.cli import watcherd  # noqa: PLC0415 - it imports this module's verb

    context = click.Context(watcherd, info_name="watcherd")
    lines = [_title("WATCHERD", 1), ".SH NAME", r"watcherd \- image derivatives next to each upload"]
    lines += [".SH SYNOPSIS", r".B watcherd", r"\fIVERB\fR [\fIOPTIONS\fR] [\fIARGUMENTS\fR]"]
    lines += [".SH DESCRIPTION", *_paragraphs(watcherd.help or "")]
    lines += [".SH OPTIONS", *_options(watcherd, context), *_terms({"-h, --help": "Show the help of the verb."})]
    lines.append(".SH VERBS")
    for name in watcherd.list_commands(context):
        verb = watcherd.get_command(context, name)
        assert verb is not None  # noqa: S101 - it stands in the list
        lines += _verb(verb, click.Context(verb, parent=context, info_name=name))
    lines += [".SH EXIT STATUS", *_terms({str(int(code)): text for code, text in _MEANINGS.items()})]
    lines += [".SH ENVIRONMENT", *_terms(_environment())]
    lines += [".SH FILES", *_terms(_FILES)]
    lines += [".SH SEE ALSO", r"watcherd.toml(5), systemctl(1), journalctl(1)"]
    return "\n".join(lines) + "\n"


def _verb(verb: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(verb.collect_usage_pieces(context))
    path = context.command_path.removeprefix("watcherd ")
    yield f".SS {_roff(f'{path} {usage}')}"
    yield from _paragraphs(verb.help or "")
    yield from _options(verb, context)
    if isinstance(verb, click.Group):
        for name in verb.list_commands(context):
            inner = verb.get_command(context, name)
            assert inner is not None  # noqa: S101 - it stands in the list
            yield from _verb(inner, click.Context(inner, parent=context, info_name=name))


def _options(command: click.Command, context: click.Context) -> list[str]:
    records = [option.get_help_record(context) for option in command.params]
    return [*_terms(dict(record for record in records if record is not None and record[1]))]


def _environment() -> dict[str, str]:
    return {
        "WATCHERD_CONFIG": "The configuration file, where --config is not given.",
        "WATCHERD_STATE_DIR": "The state directory, where --state-dir is not given.",
        "STATE_DIRECTORY": "The same, as systemd says it.",
        VARIABLE: "bash_source, zsh_source or fish_source prints what the shell needs to complete the command.",
    }


# ----------------------------------------------------------------------------------------------------- watcherd.toml(5)


def configuration_page() -> str:
    """watcherd.toml(5), as roff: the example configuration, set as a manual."""
    from watcherd.config import example  # noqa: PLC0415 - not for the other page

    lines = [_title("WATCHERD.TOML", 5), ".SH NAME", r"watcherd.toml \- configuration of watcherd", ".SH DESCRIPTION"]
    lines += _configuration(example().splitlines())
    lines += [".SH SEE ALSO", "watcherd(1)"]
    return "\n".join(lines) + "\n"


def _configuration(lines: list[str]) -> Iterator[str]:
    """A section for each ruler, a paragraph for each block of comment, a term for each table and setting."""
    in_text = False
    for line in lines:
        ruler, table, setting = _RULE.match(line), _TABLE.match(line), _SETTING.match(line)
        if ruler:
            yield f".SH {ruler['title'].upper()}"
        elif table or setting:
            found = table or setting
            assert found is not None  # noqa: S101 - one of both
            yield from (".TP", rf"\fB{_roff(found[1])}\fR", _roff(found["text"] or ""))
        elif line.lstrip(" #").strip():
            if not in_text and line.startswith("# "):
                yield ".PP"
            if _INDENTED.match(line):
                yield ".br"
            yield _roff(line.lstrip("# ").rstrip())
        in_text = bool(line.strip(" #")) and not ruler


# ---------------------------------------------------------------------------------------------------------------- roff


def _title(name: str, section: int) -> str:
    return f'.TH {name} {section} "" "watcherd {__version__}" ""'


def _terms(pairs: Mapping[str, str]) -> Iterator[str]:
    for term, text in pairs.items():
        yield from (".TP", rf"\fB{_roff(term)}\fR", _roff(text))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield from (".PP", _roff(" ".join(paragraph.split())))


def _roff(text: str) -> str:
    """Text that roff takes literally."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
