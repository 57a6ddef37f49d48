"""What stands in the files that an installation makes: unit, drop-in, configuration, record.

A pure module: texts and facts in, texts out. Not responsible for: where they go, and whether they have to.
"""

import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

PROGRAM = "/opt/watcherd/bin/watcherd"
"""What the unit files name as the program."""

_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - they are compared with
_LASTING = frozenset(("/", "/home", "/root", "/opt", "/usr", "/var", *_TEMPORARY))
"""A disk that is mounted there stays as long as the machine runs."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "%": "%%", "\n": r"\n", "\t": r"\t"})

_ALL_BUT_THE_SYSTEM = "ProtectSystem=full"
_ROOTS_OF_THE_EXAMPLE = re.compile(r"^# \[\[roots\]\]\n(?:#.*\n)+", re.MULTILINE)
_DROP_IN = """\
# Made by `watcherd service install` from the folders in {config}. After a change there, run that again.
# Changes of your own belong in another file: `systemctl edit {service}`.

[Service]
"""
_PORT = """\
# The metrics have a port, for this machine alone.
RestrictAddressFamilies=AF_INET
IPAddressAllow=localhost
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A root as the service will meet it. `mount_point` is that of the file system that it lies on.

    `group` may write there by the folder's mode, if that is not root's. `barrier` is what keeps the service's account
    out, in words; empty where nothing seems to. `closed` are the folders that it would have to be let into: those on
    the way, and the folder itself where it may not write.
    """

    path: str
    mount_point: str
    group: str | None = None
    barrier: str = ""
    closed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a configuration needs besides its roots: folders that are written to, a port of this machine."""

    written: tuple[Folder, ...] = ()
    port: bool = False


def unit(text: str, program: str) -> str:
    """A unit file of the package, for the program where it lies."""
    return text.replace(f"={PROGRAM} ", f"={_quoted(program)} ") if program != PROGRAM else text


def drop_in(
    roots: Iterable[Folder],
    needs: Needs,
    *,
    program: str,
    config: str,
    service: str = "watcherd",
    earlier: str = "",
    known: Container[str] = (),
) -> str:
    """What the folders need beyond the unit: to be written to, and to be seen at all. And what listens, to listen.

    `earlier`: the drop-in that is there, made for the `known` ones of the folders.
    """
    folders = (*roots, *needs.written)
    places = [*(folder.path for folder in folders), program]
    lines = [_DROP_IN.format(config=config, service=service)]
    before = frozenset(earlier.splitlines())
    writable = sorted({_lasting_path(one, before) if one.path in known else writable_path(one) for one in folders})
    if "/" in writable:
        lines.append(
            "# A disk is mounted directly below /. To name / below would make all writable, the mount point itself\n"
            "# would hold on to the disk when it is unmounted. So only /usr, /boot and /etc are read-only.\n"
            f"{_ALL_BUT_THE_SYSTEM}\n"
        )
    named = [path for path in writable if path != "/"]
    if named:
        lines.append("# The folders, or what holds the mount point of their disk; one that is missing is no error.\n")
        lines += [f"{_writable(path)}\n" for path in named]
    if any(lies_below(place, _HOMES) for place in places):
        lines.append("# Some of it lies in a home folder; the rest of these can only be read.\nProtectHome=read-only\n")
    if any(lies_below(place, _TEMPORARY) for place in places):
        lines.append("# Some of it lies in /tmp or /var/tmp.\nPrivateTmp=no\n")
    groups = sorted({folder.group for folder in folders if folder.group})
    if groups:
        lines.append(f"# The groups that may write to the folders.\nSupplementaryGroups={' '.join(groups)}\n")
    if needs.port:
        lines.append(_PORT)
    return "".join(lines)


def writable_path(folder: Folder) -> str:
    """What has to be writable for a folder.

    ReadWritePaths= pins the disk of the path that it names inside the service, also after the disk was unmounted. So it
    names what holds the mount point, unless that disk stays anyway.
    """
    point = folder.mount_point
    if point in _LASTING and point != folder.path:
        return folder.path
    return point.rpartition("/")[0] or "/"


def _lasting_path(folder: Folder, before: Container[str]) -> str:
    """`writable_path`, or what the lines of the drop-in before this one have in its place.

    While a disk is away its mount point looks like any folder. What was right when it was there is right now.
    """
    path = writable_path(folder)
    if path != folder.path or _writable(path) in before:
        return path
    while path := path.rpartition("/")[0]:
        if _writable(path) in before:
            return path
    return "/" if _ALL_BUT_THE_SYSTEM in before else folder.path


def _writable(path: str) -> str:
    return f"ReadWritePaths={_quoted('-' + path)}"


def lies_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of some folders, or lies in one."""
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def first_configuration(example: str, roots: Iterable[str]) -> str:
    """The example with these folders as its roots."""
    tables = "\n".join(_root(path) for path in roots)
    return _ROOTS_OF_THE_EXAMPLE.sub(lambda block: tables or block[0], example, count=1)


def with_more_roots(text: str, roots: Iterable[str]) -> str:
    """A configuration with these folders behind what it has; nothing else of it changes."""
    added = "\n".join(_root(path) for path in roots)
    return f"{text.rstrip()}\n\n{added}" if added else text


def record(made: Iterable[str], kernel: Mapping[str, int]) -> str:
    """What is noted for the end of an installation: what was made (`folder PATH`), kernel settings before."""
    lines = ["# What `watcherd service install` found missing and made, for `watcherd service uninstall`.", *made]
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in kernel.items())]) + "\n"


def parse_record(text: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """`record`, taken apart. What cannot be understood is left out."""
    made, kernel = [], {}
    for line in text.splitlines():
        key, equals, value = line.partition(" = ")
        if equals and value.isdigit():
            kernel[key] = int(value)
        elif line and not line.startswith("#"):
            made.append(line)
    return tuple(made), kernel


def sysctl(text: str, keys: Container[str]) -> str:
    """A sysctl.d file of the package with these of its settings; what it says of the others stays as a comment."""
    lines = (
        f"# {line}" if _is_setting(line) and line.partition("=")[0].strip() not in keys else line
        for line in text.splitlines()
    )
    return "\n".join(lines) + "\n"


def kernel_settings(text: str) -> dict[str, int]:
    """The settings of a sysctl.d file."""
    pairs = (line.partition("=") for line in text.splitlines() if _is_setting(line))
    return {key.strip(): int(value) for key, _, value in pairs}


def _is_setting(line: str) -> bool:
    return "=" in line and not line.startswith("#")


def _root(path: str) -> str:
    return f"[[roots]]\npath = {json.dumps(path, ensure_ascii=False)}\n"


def _quoted(text: str) -> str:
    """A word of a unit file: in quotes where it needs them, and with nothing taken for a specifier."""
    escaped = text.translate(_ESCAPES)
    return f'"{escaped}"' if escaped != text or re.search(r"[\s']", text) else text
