"""Where the service's files go: for the machine, for a further instance on it, or for one user.

A pure module. Not responsible for: what stands in them (`texts.py`), and whether they are there (`facts.py`).
"""

import re
from dataclasses import dataclass, replace

NAME = "watcherd"
_INSTANCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}", re.ASCII)
RECORD = "installed"
_TAKEN = ("config", RECORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Absolute paths. `account` and what goes with it are empty for a user's own service.

    `instance`: the name of one that runs beside the machine's service; it has a configuration, a state and a drop-in of
    its own, and shares all else.
    """

    is_users: bool
    units: str
    config: str
    state: str
    link: str
    man: str
    completions: tuple[tuple[str, str], ...]
    """(Shell, path) of each completion."""
    account: str = ""
    sysusers: str = ""
    tmpfiles: str = ""
    sysctl: str = ""
    instance: str = ""

    @property
    def service(self) -> str:
        """What systemctl calls it."""
        return f"{NAME}@{self.instance}" if self.instance else NAME

    @property
    def unit(self) -> str:
        """The unit; empty for an instance, whose unit is the template."""
        return "" if self.instance else f"{self.units}/{NAME}.service"

    @property
    def template(self) -> str:
        """The template for further instances; empty for a user."""
        return "" if self.is_users else f"{self.units}/{NAME}@.service"

    @property
    def drop_in(self) -> str:
        """What the folders need of the unit; empty for a user, whose unit keeps no folder from being written to."""
        return "" if self.is_users else f"{self.units}/{self.service}.service.d/10-roots.conf"

    @property
    def record(self) -> str:
        """What an installation notes of itself, for its end."""
        return f"{self.config.rpartition('/')[0]}/{RECORD}" + (f"@{self.instance}" if self.instance else "")

    @property
    def man_pages(self) -> tuple[str, str]:
        """watcherd(1) and watcherd.toml(5)."""
        return f"{self.man}/man1/{NAME}.1", f"{self.man}/man5/{NAME}.toml.5"

    def files(self) -> tuple[str, ...]:
        """All files that an installation may write, in the order in which they are written."""
        for_the_machine = (self.sysusers, self.tmpfiles, self.config, self.sysctl)
        units = (self.unit, self.template, self.drop_in)
        for_people = (*self.man_pages, *(path for _, path in self.completions))
        return tuple(path for path in (self.record, *for_the_machine, *units, *for_people) if path)

    def shared(self) -> frozenset[str]:
        """Those of them that further instances on the machine use as well."""
        return frozenset(self.files()) - {self.record, self.config, self.unit, self.drop_in}


MACHINE = Places(
    is_users=False,
    units="/etc/systemd/system",
    config="/etc/watcherd/config.toml",
    state="/var/lib/watcherd",
    link="/usr/local/bin/watcherd",
    man="/usr/local/share/man",
    completions=(
        ("bash", "/usr/local/share/bash-completion/completions/watcherd"),
        ("zsh", "/usr/local/share/zsh/site-functions/_watcherd"),
        ("fish", "/usr/local/share/fish/vendor_completions.d/watcherd.fish"),
    ),
    account=NAME,
    sysusers="/etc/sysusers.d/watcherd.conf",
    tmpfiles="/etc/tmpfiles.d/watcherd.conf",
    sysctl="/etc/sysctl.d/60-watcherd-inotify.conf",
)


def of_instance(name: str) -> Places:
    """The places of a further instance. Raises ValueError where it cannot have that name."""
    if not _INSTANCE.fullmatch(name) or name in _TAKEN:
        raise ValueError(
            f"{name!r} can be no instance's name: letters, digits, _ . and - can, but {' and '.join(_TAKEN)}"
        )
    return replace(MACHINE, instance=name, config=f"/etc/watcherd/{name}.toml", state=f"/var/lib/watcherd/{name}")


def of_user(*, config_home: str, state_home: str, home: str) -> Places:
    """The places of one user, in the XDG folders."""
    share = f"{home}/.local/share"
    return Places(
        is_users=True,
        units=f"{config_home}/systemd/user",
        config=f"{config_home}/watcherd/config.toml",
        state=f"{state_home}/watcherd",
        link=f"{home}/.local/bin/watcherd",
        man=f"{share}/man",
        completions=(
            ("bash", f"{share}/bash-completion/completions/watcherd"),
            ("fish", f"{share}/fish/vendor_completions.d/watcherd.fish"),
        ),
    )
