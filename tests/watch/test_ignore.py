"""Which names count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import paths
from watcherd.naming import temporary_name
from watcherd.watch.ignore import Why, compile_globs, prunes, why_ignored

FILES = {
    Why.HIDDEN: [
        b".IMG_1.JPG.x7Yh2k",
        b".in.IMG_1.JPG.",
        b".pureftpd-upload.5f3a.15.1",
        b".syncthing.IMG_1.JPG.tmp",
        b".IMG_1.JPG.~5f3a",
        b"._IMG_1.JPG",
        b".DS_Store",
        b".nfs000000000123",
        b".fuse_hidden0001",
        b".goutputstream-ABC",
        b".IMG_1.JPG.swp",
        b".#IMG_1.JPG",
    ],
    Why.TEMPORARY: [
        b"IMG_1.JPG.part",
        b"IMG_1.JPG.PART",
        b"IMG_1.JPG.crdownload",
        b"Unconfirmed 12345.crdownload",
        b"IMG_1.JPG.opdownload",
        b"IMG_1.JPG.download",
        b"IMG_1.JPG.filepart",
        b"IMG_1.JPG.1a2b3c4d.partial",
        b"IMG_1.JPG.ocTransferId1234.part",
        b"IMG_1.JPG.tmp",
        b"IMG_1.TMP",
        b"IMG_1.JPG.!ut",
        b"IMG_1.JPG.!qB",
        b"IMG_1.JPG.aria2",
        b"IMG_1.JPG.rclone_chunk.001",
        b"IMG_1.JPG_exiftool_tmp",
        b"~$report.docx",
        b"~WRL0005.tmp",
        b"~syncthing~IMG_1.JPG.tmp",
        b"#IMG_1.xcf#",
    ],
    Why.BACKUP: [b"IMG_1.JPG~", b"IMG_1.bak", b"IMG_1.BAK", b"IMG_1.JPG_original", b"IMG_1.heic_original"],
    Why.LITTER: [
        b"Thumbs.db",
        b"THUMBS.DB",
        b"ehthumbs.db",
        b"desktop.ini",
        b"Desktop.ini",
        b"Icon\r",
        b"IMG_1.JPG@SynoEAStream",
    ],
}
FOLDERS = {
    Why.HIDDEN: [
        b".git",
        b".stfolder",
        b".stversions",
        b".sh_thumbnails",
        b".thumbnails",
        b".@__thumb",
        b".Trash-1000",
        b".Trashes",
        b".Spotlight-V100",
        b".fseventsd",
        b".rsync-partial",
        b".~tmp~",
        b".dropbox.cache",
        b".webaxs_cache",
        b".AppleDouble",
    ],
    Why.LITTER: [
        b"@eaDir",
        b"@tmp",
        b"#recycle",
        b"#snapshot",
        b"@Recycle",
        b"@Recently-Snapshot",
        b"lost+found",
        b"$RECYCLE.BIN",
        b"System Volume Information",
        b"SYSTEM VOLUME INFORMATION",
        b"__MACOSX",
        b"files_trashbin",
        b"appdata_oc1a2b3c",
    ],
    Why.TEMPORARY: [b"IMG_1.JPG.download", b"album.part"],
}
COUNTED = [
    b"IMG_1.JPG",
    b"IMG_1",
    b"holiday_original.jpg",
    b"scan_original",
    b"party.jpg",
    b"part",
    b"tmp",
    b"bak.png",
    b"a~b.jpg",
    b"#1.jpg",
    b"upload.jpg",
    b"Fotos/@home/IMG_1.JPG",
    b"download/IMG_1.JPG",
    b"recycle/tmp/IMG_1.JPG",
    b"IMG_1.JPG.thumbnail.jpg",
    b"\xff\xfe\x80.jpg",
    "写真/画像.jpg".encode(),
]


@pytest.mark.parametrize(("why", "name"), [(why, name) for why, names in FILES.items() for name in names])
def test_files_on_their_way_and_litter_do_not_count(why: Why, name: bytes) -> None:
    assert why_ignored(name) is why
    assert why_ignored(b"album/2026/" + name) is why


@pytest.mark.parametrize(("why", "name"), [(why, name) for why, names in FOLDERS.items() for name in names])
def test_nothing_in_a_folder_of_another_program_counts(why: Why, name: bytes) -> None:
    assert prunes(name) is why
    assert prunes(b"album/" + name) is why
    assert why_ignored(b"album/" + name + b"/2026/IMG_1.JPG") is why


@pytest.mark.parametrize("path", COUNTED)
def test_anything_else_counts(path: bytes) -> None:
    assert why_ignored(path) is None
    assert prunes(path.rpartition(b"/")[0]) is None


def test_our_own_files_on_their_way_do_not_count() -> None:
    assert why_ignored(temporary_name("0123abcd", "4567cdef", "0123456789ab")) is Why.HIDDEN


@pytest.mark.parametrize(
    ("pattern", "path", "excluded"),
    [
        ("*.gif", b"a.gif", True),
        ("*.gif", b"x/y/a.gif", True),
        ("*.gif", b"a.GIF", False),
        ("private", b"private/a.jpg", True),
        ("private/", b"x/private/y/a.jpg", True),
        ("private", b"privates/a.jpg", False),
        ("x/raw", b"x/raw/deep/a.jpg", True),
        ("x/raw", b"raw/a.jpg", False),
        ("x/*.jpg", b"x/a.jpg", True),
        ("IMG_????.jpg", b"IMG_0001.jpg", True),
        ("IMG_[0-4]*", b"IMG_5.jpg", False),
        ("?.jpg", "ä.jpg".encode(), True),
        ("[äö].jpg", "ö.jpg".encode(), True),
        ("a*.jpg", b"a\xff.jpg", True),
        ("*", b"a\nb.jpg", True),
    ],
)
def test_patterns_of_the_settings_exclude_names_paths_and_folders(pattern: str, path: bytes, excluded: bool) -> None:
    globs = compile_globs(["*.never", pattern])

    assert why_ignored(path, globs=globs) == (Why.EXCLUDED if excluded else None)


def test_a_pattern_that_matches_a_folder_prunes_it() -> None:
    globs = compile_globs(["private"])

    assert prunes(b"x/private", globs=globs) is Why.EXCLUDED
    assert prunes(b"x/public", globs=globs) is None


@pytest.mark.parametrize("patterns", [[], [""], ["/"]])
def test_no_patterns_exclude_nothing(patterns: list[str]) -> None:
    assert compile_globs(patterns) is None


@given(paths(), st.lists(st.text(max_size=5), max_size=3))
def test_what_is_pruned_is_ignored_and_no_name_is_too_odd(path: bytes, patterns: list[str]) -> None:
    globs = compile_globs(patterns)
    parts = path.split(b"/")
    above = [b"/".join(parts[:length]) for length in range(1, len(parts))]

    pruned = any(prunes(folder, globs=globs) for folder in above)

    assert (why_ignored(path, globs=globs) is not None) >= pruned


SHOWN = [b".hidden.jpg", b".album/a.jpg", b"d/.IMG_1.JPG"]
NEVER_SHOWN = [
    *FILES[Why.HIDDEN],
    temporary_name("00000001", "00000002", "0" * 12),
    b".watcherdignore",
    b".watcherd-root",
    b".git/objects/a.jpg",
    b".derivatives/a.jpg",
    b"d/.Trash-1000/files/a.jpg",
    b".@__thumb/a.jpg",
    b".stversions/a.jpg",
    b".AppleDouble/a.jpg",
    b".thumbnails/normal/a.png",
    b".pending-1700000000-IMG_1.jpg",
    b".trashed-1700000000-IMG_1.jpg",
    b".tmp.drivedownload/a.jpg",
]


@pytest.mark.parametrize("path", SHOWN)
def test_hidden_files_count_where_that_is_asked_for(path: bytes) -> None:
    assert (why_ignored(path), why_ignored(path, hidden=True)) == (Why.HIDDEN, None)


@pytest.mark.parametrize("path", NEVER_SHOWN)
def test_hidden_temporary_files_and_folders_of_programs_never_count(path: bytes) -> None:
    assert why_ignored(path, hidden=True) is not None


@given(paths())
def test_asking_for_hidden_files_takes_nothing_away(path: bytes) -> None:
    assert not (why_ignored(path) is None and why_ignored(path, hidden=True) is not None)


def test_folders_may_be_nested_deeper_than_calls() -> None:
    deep = b"/".join([b"d"] * 1_900)
    assert why_ignored(deep + b"/a.jpg") is None
    assert why_ignored(b".hidden/" + deep + b"/a.jpg") is Why.HIDDEN
    assert why_ignored(deep + b"/@eaDir/" + b"d/a.jpg") is Why.LITTER
