"""Drop folders behind real servers, written by their real clients on loopback: one complete set of derivatives each.

FTP by vsftpd (curl, lftp), SFTP by OpenSSH (sftp), SMB by Samba (smbclient). What makes these uploads special: they
are slow, they come many at a time, they are overwritten in place, some clients write under another name first, and
servers write in pieces of their own. Each test is skipped where its programs are missing.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.harness import Daemon, eventually
from tests.chaos.pictures import fill, jpeg, padded, put

SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
LARGE_BYTES = 3_000_000
SLOW_BYTES_PER_S = 1_000_000


def needed(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("this server starts as root only")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*command: str | Path, said: str = "") -> str:
    """Run a client to its end; it has to succeed."""
    done = subprocess.run(
        [str(part) for part in command], input=said, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@dataclass(slots=True)
class Server:
    """A server on loopback, ended when the test is."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def listens(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def serve(place: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server by its command and waits until it listens."""
    started: list[Server] = []

    def start(port: int, *command: str) -> Server:
        log = place / f"server-{port}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        started.append(Server(port=port, process=process, log=log))
        eventually(started[-1].listens, within_s=20, what=f"{command[0]} listens")
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.process.terminate()
            try:
                server.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()


@pytest.fixture
def ftp(place: Path, watched: Path, serve: Callable[..., Server]) -> str:
    """The address of an FTP server whose folder `in` is the watched one's."""
    needed("vsftpd")
    as_root()
    (watched / "in").mkdir()
    (watched / "in").chmod(0o777)
    (place / "empty").mkdir()
    port = free_port()
    file = place / "vsftpd.conf"
    file.write_text(
        f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\npasv_address=127.0.0.1\nbackground=NO\n"
        "anonymous_enable=YES\nno_anon_password=YES\nlocal_enable=NO\nxferlog_enable=NO\nseccomp_sandbox=NO\n"
        f"ftp_username=daemon\nanon_root={watched}\nsecure_chroot_dir={place}/empty\n"
        "write_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\n"
        "anon_umask=022\nanon_world_readable_only=NO\n"
    )
    serve(port, "vsftpd", str(file))
    return f"ftp://127.0.0.1:{port}/in"


@pytest.fixture
def smb(place: Path, watched: Path, serve: Callable[..., Server]) -> list[str]:
    """The command that speaks to an SMB share, which is the watched folder."""
    needed("smbd", "smbclient")
    as_root()
    port = free_port()
    own = place / "samba"
    own.mkdir()
    folders = ("private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir")
    (own / "smb.conf").write_text(
        "[global]\nserver role = standalone server\nmap to guest = bad user\nguest account = root\n"
        "interfaces = lo\nbind interfaces only = yes\nload printers = no\ndisable spoolss = yes\nlogging = file\n"
        f"log file = {own}/log\nlog level = 0\n"
        + "".join(f"{name} = {own}\n" for name in folders)
        + f"[up]\npath = {watched}\nguest ok = yes\nread only = no\nforce user = root\ncreate mask = 0644\n"
    )
    serve(port, "smbd", "--foreground", "--no-process-group", f"--configfile={own}/smb.conf", f"--port={port}")
    return ["smbclient", "//127.0.0.1/up", f"--port={port}", "--no-pass", f"--configfile={own}/smb.conf"]


@pytest.fixture
def pictures(place: Path) -> Path:
    """A folder of 30 small pictures and 2 large ones, to be uploaded."""
    folder = place / "pictures"
    fill(folder, 30, size=(320, 240))
    for number in (100, 101):
        put(folder / f"large-{number}.jpg", padded(jpeg(number, (1600, 1200)), LARGE_BYTES))
    return folder


def one_complete_set_each(daemon: Daemon, watched: Path, sources: int) -> None:
    counts = daemon.rested(sources=sources)
    assert (counts["done"], sum(counts.values())) == (sources, sources)
    assert audit(watched, daemon.state).problems == []
    assert daemon.rendered() == {str(path): 1 for path in watched.rglob("*.jpg") if _is_source(path)}
    assert len(daemon.rendered()) == sources


def _is_source(path: Path) -> bool:
    return not path.name.endswith((".thumbnail.jpg", ".preview.jpg"))


def test_ftp_many_uploads_at_a_time_into_new_folders(ftp: str, watched: Path, pictures: Path, daemon: Daemon) -> None:
    needed("lftp")
    daemon.start()
    script = f"set net:max-retries 2; mirror --reverse --parallel=6 {pictures} {ftp}/camera/today; bye"
    run("lftp", "-c", script)
    assert len(list((watched / "in" / "camera" / "today").glob("p*.jpg"))) >= 30
    one_complete_set_each(daemon, watched, 32)


def test_ftp_a_slow_upload_is_taken_when_it_is_complete(
    ftp: str, watched: Path, pictures: Path, daemon: Daemon
) -> None:
    needed("curl")
    daemon.start()
    large = pictures / "large-100.jpg"
    run(
        "curl",
        "--silent",
        "--show-error",
        "--limit-rate",
        str(SLOW_BYTES_PER_S),
        "--upload-file",
        large,
        f"{ftp}/slow.jpg",
    )
    one_complete_set_each(daemon, watched, 1)
    assert daemon.lines("source.incomplete") == []


def test_ftp_an_upload_under_a_temporary_name_is_seen_under_its_own(
    ftp: str, watched: Path, pictures: Path, daemon: Daemon
) -> None:
    needed("lftp")
    daemon.start()
    settings = "set xfer:use-temp-file yes; set xfer:temp-file-name .in.*"
    run("lftp", "-c", f"{settings}; open {ftp}; mput -O . {pictures}/*.jpg; bye")
    one_complete_set_each(daemon, watched, 32)
    assert [line["source"] for line in daemon.lines() if "/.in." in str(line.get("source", ""))] == []


def test_ftp_an_upload_that_broke_off_is_completed_later(
    ftp: str, watched: Path, pictures: Path, daemon: Daemon
) -> None:
    needed("curl")
    daemon.start()
    whole = (pictures / "large-100.jpg").read_bytes()
    part = put(pictures / "part", whole[: len(whole) // 2])
    run("curl", "--silent", "--show-error", "--upload-file", part, f"{ftp}/broken.jpg")
    target = watched / "in" / "broken.jpg"
    eventually(lambda: daemon.state_of(target) == "incomplete", within_s=20, what="it waits for the rest", every_s=0.3)
    resume = ("--continue-at", "-", "--upload-file", pictures / "large-100.jpg")
    run("curl", "--silent", "--show-error", *resume, f"{ftp}/broken.jpg")
    assert target.read_bytes() == whole
    eventually(lambda: daemon.state_of(target) == "done", within_s=40, what="it is whole", every_s=0.3)
    one_complete_set_each(daemon, watched, 1)


def test_sftp_uploads_are_done_once_each(watched: Path, pictures: Path, daemon: Daemon) -> None:
    needed("sftp")
    server = next(filter(os.path.exists, SFTP_SERVERS), None)
    if server is None:
        pytest.skip("not installed: openssh-sftp-server")
    daemon.start()
    said = f"mkdir {watched}/in\ncd {watched}/in\nput {pictures}/*.jpg\nput {pictures}/p000000.jpg renamed.tmp\n"
    run("sftp", "-q", "-D", server, said=f"{said}rename renamed.tmp renamed.jpg\nbye\n")
    eventually((watched / "in" / "renamed.jpg").exists, within_s=10, what="all was uploaded")
    counts = daemon.rested(sources=33)
    assert counts["done"] == 33
    assert audit(watched, daemon.state).problems == []
    assert set(daemon.rendered().values()) == {1}


def test_smb_uploads_are_done_once_each(smb: list[str], watched: Path, pictures: Path, daemon: Daemon) -> None:
    daemon.start()
    run(*smb, "-c", f"mkdir in; cd in; lcd {pictures}; prompt off; mput *.jpg")
    assert len(list((watched / "in").glob("p*.jpg"))) >= 30
    one_complete_set_each(daemon, watched, 32)


def test_smb_an_overwritten_upload_gets_new_derivatives(
    smb: list[str], watched: Path, pictures: Path, daemon: Daemon
) -> None:
    daemon.start()
    run(*smb, "-c", f"put {pictures}/p000001.jpg a.jpg; put {pictures}/p000002.jpg b.jpg")
    daemon.rested(sources=2)
    run(*smb, "-c", f"put {pictures}/large-101.jpg a.jpg; rename b.jpg c.jpg")
    eventually(lambda: daemon.rendered()[str(watched / "a.jpg")] == 2, within_s=20, what="it is rendered anew")
    eventually(lambda: daemon.state_of(watched / "c.jpg") == "done", within_s=20, what="the new name is done")
    assert (watched / "a.jpg.preview.jpg").exists()
    assert (watched / "c.jpg.preview.jpg").exists()
