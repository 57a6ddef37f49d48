"""The worker, a real one behind its full fence: every format in and out, job after job, and what it survives."""

import hashlib
import io
import os
import resource
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from tests.imaging.extras import WRITABLE
from tests.imaging.pictures import adobe_like_profile, noise, quarters, saved
from tests.places import descriptors
from tests.pool.workshop import REPOSITORY, bench, misbehaving
from watcherd.derivatives.memfds import is_sealed
from watcherd.model import (
    THUMBNAIL,
    AnimationPolicy,
    Failed,
    Fit,
    Ignored,
    Incomplete,
    MetadataPolicy,
    OutputFormat,
    Reason,
    Rejected,
    Rendered,
    StopReason,
    Variant,
)
from watcherd.naming import Mark
from watcherd.pool.frames import Identified, grant, parse_from_worker, release
from watcherd.pool.orders import NO_THREAD
from watcherd.pool.worker import descriptors_of
from watcherd.settings import MAX_VARIANTS, Sandbox

OUTPUTS = tuple(Variant(name=form.value, width=40, height=40, format=form) for form in WRITABLE)
STARTUP_CPU_S = 0.3


def photoshop(picture: Image.Image) -> bytes:
    """A flat PSD without compression (Adobe's file format, version 1)."""
    width, height = picture.size
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, height, width, 8, 3)
    return head + bytes(12) + b"\0\0" + b"".join(band.tobytes() for band in picture.split())


def sources() -> dict[str, bytes]:
    plain = quarters()
    exif = Image.Exif()
    exif[0x0112], exif[0x8298] = 6, "somebody"
    frames: dict[str, Any] = {"save_all": True, "append_images": [quarters().rotate(90)], "duration": 80}
    containers = ("PNG", "WEBP", "GIF", "AVIF", "BMP", "ICO", "TGA", "PCX", "PPM", "JPEG2000", "HEIF")
    return {
        **{container.lower(): saved(plain, container) for container in containers},
        "psd": photoshop(plain),
        "jpeg": saved(plain, "JPEG", exif=exif),
        "progressive jpeg": saved(noise(900, 700), "JPEG", progressive=True),
        "cmyk jpeg": saved(quarters(mode="CMYK"), "JPEG"),
        "grey jpeg": saved(quarters(mode="L"), "JPEG"),
        "jpeg with a profile": saved(plain, "JPEG", icc_profile=adobe_like_profile()),
        "transparent png": saved(quarters(mode="RGBA"), "PNG"),
        "palette png": saved(quarters(mode="P"), "PNG"),
        "16-bit png": saved(quarters(mode="L").convert("I;16"), "PNG"),
        "moving gif": saved(plain, "GIF", **frames),
        "moving webp": saved(plain, "WEBP", **frames),
        **{
            f"tiff, {how}": saved(plain, "TIFF", compression=how) for how in ("raw", "tiff_lzw", "tiff_deflate", "jpeg")
        },
    }


SOURCES = sources()
MANNERS = {
    "smart": replace(THUMBNAIL, fit=Fit.SMART),
    "padded": replace(THUMBNAIL, fit=Fit.PAD),
    "covering": replace(THUMBNAIL, fit=Fit.COVER),
    "sharpened": replace(THUMBNAIL, sharpen=True, normalise=True),
    "best": replace(THUMBNAIL, effort=9),
    "keeping all": replace(THUMBNAIL, metadata=MetadataPolicy.KEEP),
    "keeping the copyright": replace(THUMBNAIL, metadata=MetadataPolicy.COPYRIGHT),
    "moving": replace(THUMBNAIL, format=OutputFormat.WEBP, animation=AnimationPolicy.KEEP),
}


def test_every_format_goes_in_and_comes_out_within_the_fence_and_nothing_is_imported_late() -> None:
    options = misbehaving("tells_late_imports")
    with bench(**options) as one:
        one.start()
        assert {"landlock", "seccomp"} & set(one.ready().missing_layers) == set()
        outcomes = {}
        for job, (name, content) in enumerate(SOURCES.items(), start=1):
            ended, pictures = one.outcome(content, *OUTPUTS, job=job)
            sizes = [Image.open(io.BytesIO(picture)).size for picture in pictures]
            outcomes[name] = (ended.outcome, len(pictures), {max(size) for size in sizes}, ended.notes)
        assert outcomes == dict.fromkeys(SOURCES, (Rendered(), len(OUTPUTS), {40}, ()))
        for manner in MANNERS.values():
            for name in ("jpeg", "moving gif", "transparent png"):
                assert one.outcome(SOURCES[name], manner)[0].outcome == Rendered()
        one.workers.dismiss(0, StopReason.SHUTDOWN)
        ending = one.ending()
        assert (ending.how, ending.stderr) == ("exit 0", "[]\n")


def test_a_worker_starts_quickly() -> None:
    """CPU from fork to ready, imports and fence included; measured 0.10 s."""
    with bench() as one:
        pid = one.start().pid
        one.ready()
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            ticks = sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
        assert ticks / os.sysconf("SC_CLK_TCK") < STARTUP_CPU_S


def test_a_worker_that_is_woken_pushes_nobody_aside() -> None:
    with bench() as one:
        pid = one.start().pid
        one.ready()
        assert os.sched_getscheduler(pid) == os.SCHED_BATCH


def test_how_the_whole_daemon_is_scheduled_is_not_for_its_workers_to_change() -> None:
    code = (
        "import os; from watcherd.pool.fence import fence; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0));"
        "fence.give_way(); print(os.sched_getscheduler(0) == os.SCHED_IDLE)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=REPOSITORY)
    assert done.stdout == "True\n"


def test_what_is_identified_and_made_is_what_was_given() -> None:
    content = SOURCES["progressive jpeg"]
    with bench() as one:
        one.start()
        one.ready()
        one.give(content, *OUTPUTS, job=7)
        seen = one.message()
        assert isinstance(seen, Identified)
        assert (seen.job, seen.digest) == (7, hashlib.sha256(content).digest())
        assert (seen.header.kind, seen.header.width, seen.header.height) == ("jpeg", 900, 700)
        one.workers.send(0, grant(7, ["webp", "jpeg"]))
        frame = one.frame()
        ended = parse_from_worker(frame)
        assert [made.variant for made in ended.made] == ["jpeg", "webp"]  # type: ignore[union-attr]
        assert [is_sealed(descriptor) for descriptor in frame.descriptors] == [True, True]
        mark = Mark(variant="jpeg", digest=seen.digest, fingerprint=OUTPUTS[0].fingerprint)
        data = os.pread(frame.descriptors[0], 1 << 20, 0)
        assert str(mark).encode() in data
        for descriptor in frame.descriptors:
            os.close(descriptor)


def test_as_many_variants_as_there_may_be_are_made_at_once() -> None:
    many = [replace(THUMBNAIL, name=f"v{number}", width=8 + number) for number in range(MAX_VARIANTS)]
    with bench() as one:
        one.start()
        one.ready()
        ended, pictures = one.outcome(SOURCES["progressive jpeg"], *many)
    assert len(pictures) == len(ended.made) == MAX_VARIANTS


def test_a_worker_that_is_told_to_let_go_takes_the_next_job() -> None:
    with bench() as one:
        one.start()
        one.ready()
        one.give(SOURCES["jpeg"], job=1)
        assert isinstance(one.message(), Identified)
        one.workers.send(0, release(1))
        assert one.outcome(SOURCES["png"], job=2)[0].outcome == Rendered()


def test_bad_contents_are_outcomes_and_the_worker_goes_on() -> None:
    whole = saved(noise(), "JPEG")
    with bench() as one:
        one.start()
        one.ready()
        ends = [
            one.outcome(content)[0].outcome
            for content in (
                b"",
                b"some text\n" * 100,
                whole[: len(whole) // 2],
                b"<svg xmlns='http://www.w3.org/2000/svg'/>",
                whole,
            )
        ]
        kinds = [type(end) for end in ends]
        assert kinds == [Ignored, Ignored, Incomplete, Rejected, Rendered]


def test_garbage_of_every_kind_never_ends_a_worker() -> None:
    """Heads that are right and bodies that are not: decoders raise anything; errors keep pictures alive in circles."""
    with bench() as one:
        one.start()
        one.ready()
        pid = one.workers[0].pid
        for job, content in enumerate(SOURCES.values(), start=1):
            torn = content[:60] + bytes(b ^ 0x5A for b in content[60:])
            one.outcome(torn, *OUTPUTS, job=2 * job, tolerant=True)
            one.outcome(content[: len(content) // 3], *OUTPUTS, job=2 * job + 1, tolerant=True)
        assert one.outcome(SOURCES["jpeg"], job=999)[0].outcome == Rendered()
        assert one.workers[0].pid == pid
        assert len(os.listdir(f"/proc/{pid}/fd")) < 16


def test_what_needs_more_memory_than_there_is_is_an_outcome() -> None:
    content = saved(Image.new("L", (12_000, 12_000)), "BMP")
    with bench(memory_bytes=600 << 20) as one:
        one.start()
        one.ready()
        wide = Variant(name="wide", width=None, height=12_000, format=OutputFormat.PNG)
        outcome = one.outcome(content, wide)[0].outcome
        assert isinstance(outcome, Failed)
        assert outcome.reason is Reason.OUT_OF_MEMORY
        assert one.outcome(SOURCES["png"], job=2)[0].outcome == Rendered()


def test_many_jobs_cost_neither_descriptors_nor_memory() -> None:
    with bench() as one:
        pid = one.start().pid
        one.ready()

        def between_jobs(job: int) -> tuple[int, int, int]:
            """Ours, theirs, and bytes, while the worker waits for an answer: it has tidied up after the last job."""
            one.give(SOURCES["jpeg"], job=job)
            assert isinstance(one.message(), Identified)
            seen = descriptors(), len(os.listdir(f"/proc/{pid}/fd")), one.workers.rss_bytes(0)
            one.workers.send(0, release(job))
            return seen

        for job in range(1, 11):
            one.outcome(SOURCES["jpeg"], job=job)
        before = between_jobs(11)
        for job in range(12, 112):
            one.outcome(SOURCES["jpeg"], job=job)
        after = between_jobs(112)
        assert after[:2] == before[:2]
        assert after[2] - before[2] < 8 << 20


def test_a_worker_leaves_when_its_daemon_closes_in_the_middle_of_a_job() -> None:
    with bench(sandbox=Sandbox.OFF) as one:
        one.start()
        one.ready()
        one.give(SOURCES["jpeg"])
        assert isinstance(one.message(), Identified)
        one.workers.dismiss(0, StopReason.SHUTDOWN)
        ending = one.ending()
        assert (ending.how, ending.stderr) == ("exit 0", "")


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT"])
def test_a_crash_of_a_decoder_leaves_its_place(number: str) -> None:
    """The fault handler writes it to standard error, which stays open behind the fence."""
    with bench() as one:
        pid = one.start().pid
        one.ready()
        os.kill(pid, {"SIGSEGV": 11, "SIGABRT": 6}[number])
        ending = one.ending()
        assert ending.how == number
        assert "Fatal Python error" in ending.stderr
        assert "worker.py" in ending.stderr


def threadless(ends: str) -> dict[str, Any]:
    environment = {"PYTHONPATH": str(REPOSITORY), "THREADS_END": ends}
    return {"module": "tests.pool.threadless", "environment": environment}


def test_a_worker_that_is_given_no_thread_does_not_get_ready_and_says_why() -> None:
    with bench(**threadless("at once")) as one:
        one.start()
        ending = one.ending()
        assert ending.how == "exit 1"
        assert "creating thread" in ending.last_words
        assert "ulimit -u" in ending.last_words


@pytest.mark.parametrize("container", ["JPEG", "HEIF"])
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_worker_that_is_given_no_thread_for_a_job_leaves_and_blames_no_picture(
    container: str, tolerant: bool
) -> None:
    with bench(**threadless("later")) as one:
        one.start()
        one.ready()
        one.give(saved(quarters(), container), tolerant=tolerant)
        message = one.message()
        if isinstance(message, Identified):
            assert one.workers.send(0, grant(1, [THUMBNAIL.name]))
        assert one.ending().how == NO_THREAD
        assert one.frames[0] == []


def test_pictures_that_find_no_room_are_an_outcome() -> None:
    """A limit on the size of files, as `ulimit -f` sets it, holds for memory that goes by descriptor as well."""
    with bench() as one:
        pid = one.start().pid
        one.ready()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, 100))
        for job in (1, 2):
            ended, pictures = one.outcome(saved(quarters(), "JPEG"), job=job)
            assert isinstance(ended.outcome, Failed)
            assert (ended.outcome.reason, pictures) == (Reason.DECODER_ERROR, [])


def test_a_content_for_which_there_is_no_room_costs_no_descriptor() -> None:
    code = (
        "import os, resource\n"
        "from watcherd.pool.worker import sealed_memfd\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "for _ in range(3):\n"
        "    try: sealed_memfd(bytes(101))\n"
        "    except OSError: print(len(os.listdir('/proc/self/fd')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=REPOSITORY, timeout=60)
    counts = done.stdout.split()
    assert len(counts) == 3
    assert len(set(counts)) == 1


def test_descriptors_in_ancillary_data_are_found_and_the_rest_is_not() -> None:
    numbers = struct.pack("3i", 5, 6, 7)
    found = descriptors_of(
        [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers + b"xx"), (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, numbers)]
    )
    assert found == [5, 6, 7]
