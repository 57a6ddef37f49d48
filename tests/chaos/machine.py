"""A machine under a real systemd: `systemd-nspawn -b` on an overlay of this one, for tests of the service.

Responsible for: booting it, running commands in it, reading and writing its files, taking it down without a trace. Not
responsible for: what is tested in it.

It sees this machine's programs (read-only, through the overlay) and nothing else of it: what it writes goes to a tmpfs
that ends with it, its /tmp, /run and /dev are its own (a booting systemd empties /tmp), and it has no network. All
mounts are made in a mount namespace of their own, so none is left whatever happens.
"""

import contextlib
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.harness import REPOSITORY, eventually

PYTHON = "/usr/bin/python3"
PROGRAMS = ("systemd-nspawn", "systemctl", "dbus-daemon", "unshare", "nsenter")
NO_HOST_SYSTEMD = not os.path.isdir("/run/systemd/system")
PACKAGE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
"""Below the virtual environment /opt/watcherd of the machine."""

_BOOT = """
set -e
mount -t tmpfs -o size=2g,mode=755 tmpfs {base}
mkdir {base}/upper {base}/work {base}/root
mount -t overlay -o lowerdir=/,upperdir={base}/upper,workdir={base}/work overlay {base}/root
mount -t tmpfs -o mode=1777 tmpfs {base}/root/tmp
test -z "$(ls -A {base}/root/tmp)"
cd {base}/root
{prepare}
for group in {groups}; do echo $$ > "$group/cgroup.procs"; done
exec systemd-nspawn --directory={base}/root --register=no {keep_unit} --private-network --machine={name} \\
  --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" --link-journal=no \\
  --resolv-conf=off --timezone=off --console=read-only {binds} --boot systemd.unit=tests.target
"""
_TARGET = """[Unit]
Requires=basic.target dbus.socket systemd-journald.service
After=basic.target dbus.socket
AllowIsolate=yes
"""
_ENTRY = """#!/opt/watcherd/bin/python
import sys
from watcherd.cli import main
sys.exit(main())
"""


def why_not() -> str | None:
    """Why no machine can be booted here; None if one can, as far as can be seen."""
    if os.geteuid() != 0:
        return "booting a machine in a container needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: systemd-container, dbus)"
    if not os.path.exists("/lib/systemd/systemd"):
        return "there is no /lib/systemd/systemd to boot"
    version = "import sys; print(sys.version_info[0], sys.version_info[1])"
    done = subprocess.run([PYTHON, "-c", version], capture_output=True, text=True, check=False)
    if done.stdout.split() != [str(part) for part in sys.version_info[:2]]:
        return f"the service needs a Python outside of home folders: {PYTHON} of version {sys.version_info[:2]}"
    return None


@dataclass(slots=True)
class Machine:
    """One booted machine. `binds` are folders or devices of this machine that it shall see, writable."""

    binds: tuple[str, ...] = ()
    _base: str = ""
    _nspawn: subprocess.Popen[bytes] | None = None
    _leader: int = 0
    _groups: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name, which nothing else here has."""
        return f"watcherd-{os.path.basename(self._base).rpartition('-')[2].replace('_', 'u')}"

    @property
    def leader(self) -> int:
        """Its first process, by its id out here."""
        return self._leader

    # ---- life

    def boot(self, within_s: float = 60) -> "Machine":
        """Boot it, and wait until its services can be used."""
        self._base = tempfile.mkdtemp(prefix="watcherd-machine-", dir="/var/tmp")
        self._groups = _make_groups(self.name) if NO_HOST_SYSTEMD else []
        script = _BOOT.format(
            base=self._base,
            name=self.name,
            prepare=_prepare(),
            groups=" ".join(self._groups),
            keep_unit="--keep-unit" if NO_HOST_SYSTEMD else "",
            binds=" ".join(f"--bind={shlex.quote(bind)}" for bind in self.binds),
        )
        with open(f"{self._base}.log", "wb") as log:
            self._nspawn = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._leader = eventually(self._find_leader, within_s=within_s, what="the machine's first process")
        eventually(self._is_up, within_s=within_s, what="the machine is up", every_s=0.2)
        return self

    def log(self) -> str:
        """What it wrote to its console."""
        return Path(f"{self._base}.log").read_text(errors="replace")

    def power_off(self) -> None:
        """End it at once; nothing of it stays."""
        if self._leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
        if self._nspawn is not None:
            try:
                self._nspawn.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        for group in self._groups:
            _remove_group(group)
        self._leader, self._nspawn, self._groups = 0, None, []
        if self._base:
            os.rmdir(self._base)
            os.unlink(f"{self._base}.log")
            self._base = ""

    # ---- use

    def run(
        self, *command: str, check: bool = True, user: str | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        prefix = ["nsenter", "--target", str(self._leader), "--all", "--wd=/"]
        if user is not None:
            prefix += ["runuser", "-u", user, "--"]
        known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        done = subprocess.run(
            [*prefix, *command],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=120,
            env={**known, **(environ or {})},
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{shlex.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def path(self, inside: str) -> Path:
        """A file of it, as it is reached from here."""
        return Path(f"/proc/{self._leader}/root") / inside.lstrip("/")

    def write(self, inside: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file in it, with the folders above."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)

    def written(self) -> dict[str, tuple[object, ...]]:
        """All that is not as on this machine: kind and mode, owner, and content by path. A removed file is there too.

        Read from the overlay's upper layer, so what others do to this machine meanwhile is no difference.
        """
        assert self._nspawn is not None
        upper = f"/proc/{self._nspawn.pid}/root{self._base}/upper"
        found = {}
        for folder, folders, files in os.walk(upper):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                inside = path.removeprefix(upper)
                content = _content(path)
                if not os.path.lexists(inside) or content != _content(inside):
                    found[inside] = content
        return found

    def show(self, unit: str, key: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", key, unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """What a unit has written, and what systemd says of it."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    # ---- details

    def _find_leader(self) -> int:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise AssertionError(f"the machine did not boot: {self.log()}")
        pid = self._nspawn.pid
        if os.readlink(f"/proc/{pid}/exe").endswith("systemd-nspawn"):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return next((int(child) for child in children if _comm(child) == "systemd"), 0)
        return 0

    def _is_up(self) -> bool:
        return self.run("systemctl", "is-active", "tests.target", check=False).stdout.strip() == "active"


def _comm(pid: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _content(path: str) -> tuple[object, ...]:
    there = os.lstat(path)
    attributes = (there.st_mode, there.st_uid, there.st_gid)
    if stat.S_ISLNK(there.st_mode):
        return (*attributes, os.readlink(path))
    return (*attributes, Path(path).read_bytes()) if stat.S_ISREG(there.st_mode) else attributes


def _prepare() -> str:
    """Shell lines that put the package into /opt/watcherd as an installed wheel has it, and thin out the boot."""
    libraries = next(path for path in sys.path if path.endswith("site-packages") and path.startswith(sys.prefix))
    into = f"opt/watcherd/{PACKAGE}"
    source = shlex.quote(str(REPOSITORY))
    return f"""
mkdir -p {into} opt/watcherd/bin opt/libraries
mount --bind {shlex.quote(libraries)} opt/libraries
ln -s {PYTHON} opt/watcherd/bin/python
printf 'home = /usr/bin\\ninclude-system-site-packages = false\\n' > opt/watcherd/pyvenv.cfg
echo /opt/libraries > {into}/libraries.pth
cp -r {source}/watcherd {source}/config.example.toml {into}/
mv {into}/config.example.toml {into}/watcherd/
cp -r {source}/systemd {into}/watcherd/systemd
cat > opt/watcherd/bin/watcherd <<'END'
{_ENTRY}END
chmod 755 opt/watcherd/bin/watcherd
cat > etc/systemd/system/tests.target <<'END'
{_TARGET}END
rm -rf etc/systemd/system/*.wants var/log/journal
: > etc/machine-id
"""


def _make_groups(name: str) -> list[str]:
    """Control groups of its own, where no systemd makes them: so nothing of it is left in those of others."""
    hierarchies = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
    groups = [f"{one}/{name}" for one in hierarchies if os.path.exists(f"{one}/cgroup.procs")]
    for group in groups:
        os.mkdir(group)
    return groups


def _remove_group(group: str) -> None:
    """Remove a control group and those in it; their processes have ended, or do so now."""
    end = time.monotonic() + 10
    for folder, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                os.rmdir(folder)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
