"""A worker that is warm needs nothing from outside, and gives back what it was lent."""

import gc
import mmap
import os
import pickle
import subprocess
import sys

import pytest

from tests.imaging.pictures import every_container, outcome, quarters
from watcherd.imaging.render import Rendering
from watcherd.model import Rejected

FILES = every_container(quarters())


def mapped(data: bytes) -> mmap.mmap:
    descriptor = os.memfd_create("upload", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("name", FILES)
def test_an_upload_may_be_mapped_memory_and_can_be_unmapped_afterwards(name: str) -> None:
    content = mapped(FILES[name])
    gc.disable()  # nothing may hang in a cycle until some later collection
    try:
        assert isinstance(outcome(content), Rendering)  # type: ignore[arg-type]
        content.close()  # BufferError while anything holds on to it
    finally:
        gc.enable()


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_upload_can_be_unmapped_too(name: str) -> None:
    content = mapped(FILES[name][: len(FILES[name]) * 2 // 3])
    assert isinstance(outcome(content, tolerant=True), Rendering | Rejected)  # type: ignore[arg-type]
    gc.collect()
    content.close()  # BufferError while anything holds on to it
    assert content.closed


WATCHED = """
import sys
from watcherd.imaging.warm import warm_up
from tests.imaging.pictures import SMALL, every_container, outcome, quarters
from watcherd.imaging.render import Rendering
from dataclasses import replace
from watcherd.model import Fit, OutputFormat
from tests.imaging.extras import EXTRAS, WRITABLE, is_installed, sample
files = every_container(quarters()) | {extra: sample(extra, quarters()) for extra in EXTRAS if is_installed(extra)}
variants = [replace(SMALL, name=f.value, format=f, fit=Fit.SMART, height=32, sharpen=True, normalise=True)
            for f in WRITABLE if f is not OutputFormat.AVIF]
warm_up()
opened = []
sys.addaudithook(lambda event, args: opened.append(args) if event in ("open", "import") else None)
bad = [name for name, data in files.items() if not isinstance(outcome(data, variants), Rendering)]
print(bad, [what for what in opened if what[0] not in sys.modules])
"""


def test_after_warming_up_nothing_is_imported_and_no_file_is_opened() -> None:
    result = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, check=True)
    assert result.stdout == "[] []\n"


STRANGE = """
import pyvips
from watcherd.imaging.warm import warm_up
warm_up()
pyvips.Image.csvload_source(pyvips.Source.new_from_memory(b"1,2"))
"""


def test_a_warm_worker_refuses_loaders_that_are_not_in_the_table() -> None:
    result = subprocess.run([sys.executable, "-c", STRANGE], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pyvips.error.Error" in result.stderr
    assert "blocked" in result.stderr


STARVED = """
import resource
from tests.imaging.pictures import noise, outcome, saved
from watcherd.imaging.warm import warm_up
data = saved(noise(6000, 5000), "JPEG", quality=50, progressive=True)
warm_up()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 40_000_000, used + 40_000_000))
made = outcome(data)
print(type(made).__name__, getattr(made, "reason", ""))
"""


def test_a_lack_of_memory_is_no_fault_of_the_picture() -> None:
    result = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, check=False)
    assert result.stdout == "Failed out_of_memory\n"


THREADLESS = """
import pickle, resource, sys
from tests.imaging.pictures import outcome
from watcherd.imaging.vips import NoThreadError
from watcherd.imaging.warm import warm_up
files = pickle.load(sys.stdin.buffer)
warm_up()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 6_000_000, used + 6_000_000))  # a thread's stack takes 8 MB
for name, data in files.items():
    for tolerant in (False, True):
        try:
            made = outcome(data, tolerant=tolerant)
        except NoThreadError:
            continue
        print(name, tolerant, made)
print("end")
"""


def test_a_lack_of_threads_is_no_fault_of_the_picture() -> None:
    """But for libheif's, which gives no reason: there the worker finds out."""
    files = pickle.dumps({name: data for name, data in FILES.items() if name != "heic"})
    result = subprocess.run([sys.executable, "-c", THREADLESS], input=files, capture_output=True, check=False)
    assert result.stderr.decode() == ""
    assert result.stdout == b"end\n"
