"""The values that properties are tried with."""

from hypothesis import strategies as st

from watcherd.model import JobClass, Source, Stamp
from watcherd.naming import NAME_MAX_BYTES
from watcherd.queue.jobqueue import Job

VARIANT_NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True)
EXTENSIONS = st.sampled_from(["jpg", "webp", "avif", "png", "jxl"])
PAIRS = st.tuples(VARIANT_NAMES, EXTENSIONS)
DIGESTS = st.binary(min_size=32, max_size=32)
FINGERPRINTS = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def _valid(name: bytes) -> bool:
    return 0 < len(name) <= NAME_MAX_BYTES and not set(name) & {0, 0x2F} and name not in (b".", b"..")


def names() -> st.SearchStrategy[bytes]:
    """File names as kernels know them: text of all alphabets, any other bytes, short and up to the limit."""
    text = st.text(min_size=1, max_size=90).map(lambda name: name.encode(errors="surrogateescape"))
    long_text = st.integers(min_value=50, max_value=130).flatmap(
        lambda length: st.sampled_from(["a", "ä", "写", "🖼", "a写"]).map(lambda one: (one * length).encode()[:255])
    )
    raw = st.binary(min_size=1, max_size=NAME_MAX_BYTES)
    long_raw = st.binary(min_size=225, max_size=NAME_MAX_BYTES)
    return st.one_of(text, long_text, raw, long_raw).filter(_valid)


def paths() -> st.SearchStrategy[bytes]:
    """Paths below a root."""
    return st.lists(names(), min_size=1, max_size=4).map(b"/".join)


def sources(roots: int = 2, files: int = 8) -> st.SearchStrategy[Source]:
    """A few sources in a few roots, so that they meet."""
    return st.builds(
        Source,
        root=st.integers(min_value=1, max_value=roots),
        path=st.integers(min_value=0, max_value=files - 1).map(lambda number: f"{number}.jpg".encode()),
    )


def stamps() -> st.SearchStrategy[Stamp]:
    """Stamps from a narrow range, so that equal ones come up."""
    few = st.integers(min_value=0, max_value=2)
    return st.builds(Stamp, size_bytes=few, mtime_ns=few, ctime_ns=few, inode=few, nlink=few)


def jobs() -> st.SearchStrategy[Job]:
    """Jobs without a sequence of their own; give them one where it matters."""
    return st.builds(
        Job,
        source=sources(),
        job_class=st.sampled_from(JobClass),
        sequence=st.just(0),
        stamp=stamps(),
        queued_at=st.integers(min_value=0, max_value=100).map(float),
        suspect=st.booleans(),
    )
