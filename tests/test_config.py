"""The configuration: what a file may say, and what is said about a wrong one."""

import errno
import json
import os
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.config import ConfigError, from_command_line, load, reading, rules, schema, show, validate
from watcherd.config.reading import SECTIONS, VARIANT_KEYS
from watcherd.config.source import locate
from watcherd.model import (
    PREVIEW,
    THUMBNAIL,
    AnimationPolicy,
    Chroma,
    ColourPolicy,
    Fit,
    MetadataPolicy,
    OutputFormat,
    Variant,
)
from watcherd.naming import VARIANT_NAME
from watcherd.settings import LayoutKind, LogLevel, OnDelete, PoolSettings, RootSettings, Settings


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> str:
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.fixture
def errors(write: Any) -> Any:
    """What is said about a text, without the file's name."""

    def errors(text: str | bytes) -> list[str]:
        path = write(text)
        with pytest.raises(ConfigError) as caught:
            load(path)
        return str(caught.value).replace(path + ":", "").split("\n")

    return errors


# ------------------------------------------------------------------------------------------------------ right files


def test_an_empty_file_gives_the_defaults(write: Any) -> None:
    assert load(write("")) == Settings()


def test_a_byte_order_mark_and_windows_line_ends_are_taken(write: Any) -> None:
    assert load(write(b"\xef\xbb\xbf[pool]\r\nworkers = 3\r\n")).pool == PoolSettings(workers=3)


def test_a_path_starts_from_the_home_folder_or_from_the_file(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    file = write('[[roots]]\npath = "~/in"\n[[roots]]\npath = "up/./loads"\n[[roots]]\npath = "/srv/in"\n')
    expected = ["/home/somebody/in", f"{tmp_path}/up/loads", "/srv/in"]
    assert [root.path for root in load(file).roots] == expected


def test_a_root_says_its_variants_and_what_follows_a_deletion(write: Any) -> None:
    file = write(
        '[[roots]]\npath = "/a"\nvariants = ["preview"]\non_delete = "keep"\nignore = ["*.tmp"]\nsvg = true\n'
        "follow_symlinks = true\n"
    )
    root = RootSettings(
        path="/a", variants=("preview",), on_delete=OnDelete.KEEP, ignore=("*.tmp",), svg=True, follow_symlinks=True
    )
    assert load(file).roots == (root,)


def test_an_empty_table_takes_the_preset_of_its_name(write: Any) -> None:
    settings = load(write("[variants.preview]\n[variants.thumbnail-webp]\n[variants.ocr]\n"))
    webp = replace(THUMBNAIL, name="thumbnail-webp", format=OutputFormat.WEBP)
    assert settings.variants == (PREVIEW, webp, rules.PRESETS["ocr"])


def test_a_variant_may_change_a_preset(write: Any) -> None:
    settings = load(write('[variants.web]\npreset = "preview"\nquality = 70\nbox = "900x"\n'))
    assert settings.variants == (replace(PREVIEW, name="web", quality=70, width=900, height=None),)


def test_a_variant_may_stand_on_its_own(write: Any) -> None:
    file = write(
        '[variants.card]\nbox = [400, 300]\nfit = "pad"\nformat = "avif"\nquality = 55\neffort = 4\nchroma = "4:4:4"\n'
        'background = "#102030"\nsharpen = true\nnormalise = true\nmetadata = "copyright"\ncolour = "keep"\n'
        'animation = "keep"\nupscale = true\nprogressive = false\n'
    )
    expected = Variant(
        name="card",
        width=400,
        height=300,
        fit=Fit.PAD,
        format=OutputFormat.AVIF,
        quality=55,
        effort=4,
        chroma=Chroma.FULL,
        background=(16, 32, 48),
        sharpen=True,
        normalise=True,
        metadata=MetadataPolicy.COPYRIGHT,
        colour=ColourPolicy.KEEP,
        animation=AnimationPolicy.KEEP,
        upscale=True,
        progressive=False,
    )
    assert load(file).variants == (expected,)


def test_jpeg_xl_wants_its_extra(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "find_spec", lambda module: object() if module == "pillow_jxl" else None)
    file = write('[variants.thumbnail]\n[variants.small]\nbox = "9x9"\nformat = "jxl"\n')
    assert load(file).variants[1].format is OutputFormat.JXL
    monkeypatch.setattr(reading, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as refused:
        load(file)
    command = "pip install 'watcherd[jxl]'"
    assert str(refused.value) == f'{file}:4: "format" = "jxl" in [variants.small] needs an extra encoder: {command}'


def test_jpeg_xl_keeps_no_foreign_colours(errors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "find_spec", lambda _: object())
    assert errors('[variants.small]\nbox = "9x9"\nformat = "jxl"\ncolour = "keep"\n') == [
        '4: "colour" = "keep" in [variants.small] cannot be had: jxl is written in sRGB'
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512MiB", 512 * 1024**2),
        ("1.5 GB", 1_500_000_000),
        ("4096B", 4096),
        ("4096", 4096),
        ("2gib", 2 * 1024**3),
        ("3kB", 3000),
    ],
)
def test_a_size_is_read(text: str, expected: int) -> None:
    assert rules.size(text) == expected


@pytest.mark.parametrize("text", ["", "MiB", "5 M", "-1MB", "1,5GB", "9" * 400 + "TB", "٣MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="512MiB"):
        rules.size(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1200x800", (1200, 800)), ("1200x", (1200, None)), ("x800", (None, 800)), ([1, 65500], (1, 65500))],
)
def test_a_box_is_read(value: object, expected: object) -> None:
    assert rules.box(value) == expected


@pytest.mark.parametrize(
    "value", ["", "x", "1200", 1200, "0x5", "70000x5", [1], [True, "a"], [0, 5], "1x2x3", "9" * 5000]
)
def test_what_is_no_box_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a box such as"):
        rules.box(value)


# ------------------------------------------------------------------------------------------------------ wrong files


def test_every_error_comes_at_once_with_its_line_and_in_order(errors: Any) -> None:
    text = """\
[[roots]]
path = "in"
on_delete = "remov"

[pool]
worker = 4
cpu_limit = 1.5
timeout_s = "5m"

[limts]

[variants.web]
preset = "larg"
"""
    assert errors(text) == [
        '3: "on_delete" in [[roots]] must be one of "remove", "keep", not "remov"; did you mean "remove"?',
        '6: unknown key "worker" in [pool]; did you mean "workers"?',
        '7: "cpu_limit" in [pool] must be more than 0 and at most 1, not 1.5',
        '8: "timeout_s" in [pool] must be a number of seconds, not "5m"',
        "10: unknown table [limts]; did you mean [limits]?",
        '13: unknown preset "larg" in [variants.web]; did you mean "large"?',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[log]\nmetrics_interval_s = 3", '2: unknown key "metrics_interval_s" in [log]; did you mean it in [daemon]?'),
        ("workers = 3", '1: unknown key "workers" outside all tables; did you mean it in [pool]?'),
        ("zzz = 3", '1: unknown key "zzz" outside all tables'),
        ("\n[[root]]\n", "2: unknown table [root]; did you mean [roots]?"),
        ("[roots]\n", "1: roots are written as [[roots]], in double brackets, one for each folder"),
        ("[[roots]]\n", '1: [[roots]] needs a "path"'),
        ('[[roots]]\npath = ""', '2: "path" in [[roots]] must name a folder'),
        ('[[roots]]\npath = "a\\u0000b"', '2: "path" in [[roots]] must name a folder'),
        ('[[roots]]\npath = "a"\nignore = [""]', '3: a pattern of "ignore" in [[roots]] is empty'),
        ('[[roots]]\npath = "a"\n[[roots]]\npath = "./a"', '4: "./a" is already a root'),
        (
            '[[roots]]\npath = "a"\nignore = "x"',
            '3: "ignore" in [[roots]] must be a list of texts in quotes, not "x"',
        ),
        (
            '[[roots]]\npath = "a"\nvariants = ["thumb"]',
            '3: unknown variant "thumb" in [[roots]]; did you mean "thumbnail"?',
        ),
        (
            '[[roots]]\npath = "a"\nvariants = ["ocr"]',
            '3: unknown variant "ocr" in [[roots]]; the preset of that name wants a [variants.ocr]',
        ),
        ("pool = 3", "1: [pool] must be a table, not 3"),
        ("[pool]\nworkers = true", '2: "workers" in [pool] must be a whole number, not true'),
        ("[pool]\nworkers = 2.5", '2: "workers" in [pool] must be a whole number, not 2.5'),
        ("[pool]\nworkers = 65", '2: "workers" in [pool] must be from 0 to 64, not 65'),
        ("[pool]\ncpu_limit = 0", '2: "cpu_limit" in [pool] must be more than 0 and at most 1, not 0'),
        ("[pool]\nboot_timeout_s = inf", '2: "boot_timeout_s" in [pool] must be from 1 to 86400, not inf'),
        ("[daemon]\nforget_after_s = nan", '2: "forget_after_s" in [daemon] must be at least 0, not nan'),
        ("[pool]\nmemory_bytes = 5", '2: "memory_bytes" in [pool] must be 0, or at least 67108864, not 5'),
        (
            '[limits]\nmax_bytes = "5 MO"',
            '2: "max_bytes" in [limits] must be a number of bytes or a size such as "512MiB", not "5 MO"',
        ),
        ("[limits]\nmax_pixels = 1" + "0" * 30, '2: "max_pixels" in [limits] must be at least 1, not 1' + "0" * 30),
        ("[log]\nlevel = 2020-01-01", '2: "level" in [log] must be one of "debug", "info", "warning", "error", not '),
        (
            '[daemon]\nquiet_hours = ["22-06"]',
            '2: "quiet_hours" in [daemon] must be spans of the day such as "22:00-06:00", not "22-06"',
        ),
        (
            '[daemon]\nquiet_hours = "22:00-06:00"',
            '2: "quiet_hours" in [daemon] must be a list of texts in quotes, not ',
        ),
        ("[retry]\nfirst_delay_s = 700", '2: "first_delay_s" in [retry] must not be more than "max_delay_s"'),
        ("[settle]\nclosed_quiet_s = 6", '2: "closed_quiet_s" in [settle] must not be more than "open_quiet_s"'),
        ("[variants.web]\nquality = 3", '1: [variants.web] needs a "box" or a "preset"'),
        (
            "[variants.thumbnai]",
            '1: [variants.thumbnai] needs a "box" or a "preset"; did you mean [variants.thumbnail]?',
        ),
        ("[variants.thumbnail]\nquality = 0", '2: "quality" in [variants.thumbnail] must be from 1 to 100, not 0'),
        ("[variants.thumbnail]\neffort = 10", '2: "effort" in [variants.thumbnail] must be from 0 to 9, not 10'),
        ('[variants.a]\nbox = "5x"\nwidth = 3', '3: unknown key "width" in [variants.a]'),
        ('[variants.a]\nbox = "5x"\nfit = "cover"', '2: "fit" = "cover" in [variants.a] needs both sides of the box'),
        (
            '[variants.a]\nbox = "20000x"\nformat = "webp"',
            "2: [variants.a] is too large: WebP ends at 16383 pixels a side",
        ),
        (
            '[variants.a]\nbox = "40000x"\nformat = "avif"',
            "2: [variants.a] is too large: AVIF ends at 32768 pixels a side",
        ),
        (
            "".join(f'[variants.v{number}]\nbox = "9x9"\n' for number in range(201)),
            "401: [variants.v200] is one too many: there may be 200 variants",
        ),
        ('[variants."A b"]\nbox = "5x"', '1: "A b" cannot name a variant: a-z, 0-9, "-" and "_", at most 32, not '),
        ('[pool]\n"a\\nb" = 1', '2: unknown key "a\\nb" in [pool]'),
    ],
)
def test_a_wrong_file_is_told_what_would_be_right(errors: Any, text: str, expected: str) -> None:
    (message,) = errors(text)
    assert message.startswith(expected)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("[pool]\nworkers = \n", "2", "Invalid value"),
        ("[pool]\n[pool]\n", "2", "Cannot declare"),
        ("a = 1\na = 2\n", "2", "overwrite"),
        ("[pool]\nworkers = [1,\n\n", "2", "at the end of the file"),
        (b"# ok\n# \xff\n", "2", "not UTF-8"),
        ("a = " + "[" * 5000, "", "cannot be read"),
        ("a = " + "9" * 5000, "", "cannot be read"),
    ],
)
def test_what_is_no_toml_is_one_error_with_a_line(errors: Any, text: str | bytes, line: str, word: str) -> None:
    (message,) = errors(text)
    assert (message.partition(":")[0].strip() if line else "", word in message) == (line, True)


def test_a_missing_file_is_an_error_without_a_line(tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


def test_lines_are_found_through_long_values_and_quoted_keys() -> None:
    text = '''\
top = """
[pool]
workers = 1
"""
[[roots]]
path = "a"  # [x]
ignore = [
  "]",
  "b",
]
[[roots]]
"path" = 'b'
log.level = "info"
[variants."a.b"]
box = { w = 1 }
[roots.extra]
x = 1
'''
    lines = locate(text)
    places = [("top",), ("roots", 0), ("roots", 0, "path"), ("roots", 0, "ignore", 1), ("roots", 1, "path")]
    places += [("roots", 1, "log", "level"), ("variants", "a.b", "box", "w"), ("roots", 1, "extra", "x")]
    assert [lines[place] for place in places] == [1, 5, 6, 7, 12, 13, 15, 17]
    assert ("pool",) not in lines


# ---------------------------------------------------------------------------------------------- command line and disk


def test_folders_of_the_command_line_are_added_once_and_need_not_be_utf8() -> None:
    base = Settings(roots=(RootSettings(path="/a", on_delete=OnDelete.KEEP),))
    roots = from_command_line([b"/b\xff", "/a/", "/c"], base).roots
    added = [RootSettings(path=os.fsdecode(b"/b\xff")), RootSettings(path="/c")]
    assert roots == (*base.roots, *added)


def test_a_root_is_resolved_through_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    settings = validate(from_command_line([str(tmp_path / "link")], Settings()), str(tmp_path / "state"))
    assert [root.path for root in settings.roots] == [os.path.realpath(tmp_path / "real")]


def test_a_root_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    path = os.fsencode(os.path.realpath(tmp_path)) + b"/b\xff"
    os.mkdir(path)
    settings = validate(from_command_line([path], Settings()), None)
    assert [os.fsencode(root.path) for root in settings.roots] == [path]


def refusal(settings: Settings, state_dir: Path | None = None, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(settings, str(state_dir) if state_dir else None, **options)
    return str(caught.value).split("\n")


def test_roots_that_are_not_there_or_no_folders_are_refused_together(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = [str(tmp_path / "none"), str(tmp_path / "file")]
    expected = [f"--watch: {names[0]} does not exist", f"--watch: {names[1]} is not a folder"]
    assert refusal(from_command_line(names, Settings())) == expected


def test_a_root_behind_what_this_user_may_not_pass_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> str:  # as /proc/1/root does
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    settings = from_command_line([str(tmp_path)], Settings())
    monkeypatch.setattr(os.path, "realpath", refused)
    assert refusal(settings) == [f"--watch: {tmp_path} cannot be looked at: Permission denied"]


def test_a_root_that_was_there_before_may_be_missing(tmp_path: Path) -> None:
    path = os.path.realpath(tmp_path / "none")
    settings = from_command_line([path], Settings())
    assert validate(settings, None, may_be_missing={path}) == settings


def test_overlapping_roots_are_refused(tmp_path: Path) -> None:
    top = tmp_path / "a"
    (top / "b").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    (tmp_path / "link").symlink_to("a")
    names = [str(top), str(top / "b"), str(tmp_path / "ab"), str(tmp_path / "link")]
    real = os.path.realpath(top)
    assert refusal(from_command_line(names, Settings())) == [
        f"--watch: {top / 'b'} lies inside the root {real}",
        f"--watch: {tmp_path / 'link'} is the same folder as the root {real}",
    ]


@pytest.mark.parametrize("inside", ["a", "a/state", "link/state"])
def test_a_state_directory_inside_a_root_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    (message,) = refusal(from_command_line([str(tmp_path / "a")], Settings()), tmp_path / inside)
    assert "holds the state directory" in message


def test_a_state_directory_beside_a_root_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    settings = from_command_line([str(tmp_path / "a")], Settings())
    assert len(validate(settings, str(tmp_path / "a-state")).roots) == 1


def test_a_root_of_a_file_is_refused_with_its_line(write: Any, tmp_path: Path) -> None:
    file = write('[pool]\nworkers = 1\n[[roots]]\npath = "none"\n')
    settings = from_command_line(["/none"], load(file))
    expected = [f"{file}:4: {tmp_path}/none does not exist", "--watch: /none does not exist"]
    assert refusal(settings, file=file) == expected


# -------------------------------------------------------------------------------------------------------------- layouts


def test_each_root_has_its_layout(write: Any, tmp_path: Path) -> None:
    text = (
        '[[roots]]\npath = "a"\nlayout = "mirror"\nmirror = "m"\n'
        '[[roots]]\npath = "b"\nlayout = "subfolder"\nsubfolder = ".thumbs"\n[[roots]]\npath = "c"\n'
    )
    a, b, c = load(write(text)).roots
    assert (a.layout, a.mirror) == (LayoutKind.MIRROR, str(tmp_path / "m"))
    assert (b.layout, b.subfolder) == (LayoutKind.SUBFOLDER, ".thumbs")
    assert (c.layout, c.subfolder, c.mirror) == (LayoutKind.SIBLING, ".derivatives", "")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('layout = "mirror"', '"layout" = "mirror" in [[roots]] needs a "mirror": the folder of that tree'),
        ('mirror = "m"', '"mirror" in [[roots]] must name a folder, and counts only with layout = "mirror"'),
        (
            'layout = "subfolders"',
            '"layout" in [[roots]] must be one of "sibling", "subfolder", "mirror", not "subfolders"; did you mean "subfolder"?',  # noqa: E501
        ),
        *(
            (f'subfolder = "{name}"', f'"subfolder" in [[roots]] must be {rules.SUBFOLDER_EXPECTED}, not "{name}"')
            for name in ("thumbs", "..", ".", ".a/b", ".watcherd-x", "")
        ),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_its_line(write: Any, lines: str, message: str) -> None:
    file = write(f'[[roots]]\npath = "a"\n{lines}\n')
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).split("\n") == [f"{file}:3: {message}"]


def mirrored(path: Path, mirror: Path) -> RootSettings:
    return RootSettings(path=str(path), layout=LayoutKind.MIRROR, mirror=str(mirror))


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two folders for roots, and one for mirrors."""
    folders = (tmp_path / "a", tmp_path / "b", tmp_path / "m")
    for folder in folders:
        (folder / "inside").mkdir(parents=True)
    return folders


def test_a_mirror_is_resolved_as_a_root_is(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("m")
    (root,) = validate(Settings(roots=(mirrored(three[0], tmp_path / "link"),)), str(tmp_path / "state")).roots
    assert root.mirror == os.path.realpath(three[2])


def test_a_mirror_that_overlaps_a_root_is_refused(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, _ = map(os.path.realpath, three)
    for mirror in (three[0], three[0] / "inside", three[1] / "inside", tmp_path):
        settings = Settings(roots=(mirrored(three[0], mirror), RootSettings(path=str(three[1]))))
        told = refusal(settings)
        assert all("cannot have the mirror" in line for line in told)
        assert any(f"overlaps the root {a}" in line or f"overlaps the root {b}" in line for line in told)


def test_two_roots_do_not_share_a_mirror(three: tuple[Path, Path, Path]) -> None:
    for one, other in ((three[2], three[2]), (three[2], three[2] / "inside")):
        told = refusal(Settings(roots=(mirrored(three[0], one), mirrored(three[1], other))))
        assert len(told) == 2
        assert all("give each root a folder of its own" in line for line in told)


def test_a_mirror_and_the_state_directory_are_apart(three: tuple[Path, Path, Path]) -> None:
    for mirror, state in ((three[2], three[2] / "state"), (three[2] / "inside", three[2]), (three[2], three[2])):
        (message,) = refusal(Settings(roots=(mirrored(three[0], mirror),)), state)
        assert "overlaps the state directory" in message


def test_a_mirror_that_is_not_there_is_refused_unless_it_was_used_before(three: tuple[Path, Path, Path]) -> None:
    away = Path(os.path.realpath(three[2])) / "none"
    settings = Settings(roots=(mirrored(three[0], away),))
    (message,) = refusal(settings)
    assert "it does not exist; make it, or mount it" in message
    assert validate(settings, None, may_be_missing={str(away)}).roots[0].mirror == str(away)


def test_a_mirror_that_is_no_folder_is_refused_with_its_line(write: Any, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "m").touch()
    file = write('[[roots]]\npath = "a"\nlayout = "mirror"\nmirror = "m"\n')
    (message,) = refusal(load(file), file=file)
    assert message.startswith(f"{file}:4: ")
    assert message.endswith("it is not a folder")


# --------------------------------------------------------------------------------------------------- writing it down

names = st.from_regex(VARIANT_NAME, fullmatch=True) | st.sampled_from(sorted(rules.PRESETS))
sides = st.one_of(st.none(), st.integers(1, 16_383))
texts = st.text(st.characters(codec="utf-8"), max_size=20)


def section(name: str) -> st.SearchStrategy[Any]:
    """A table's settings within its ranges."""
    values: dict[str, Any] = {}
    for f in fields(SECTIONS[name]):
        allowed = rules.RANGES.get((name, f.name))
        if allowed and isinstance(f.default, int):
            values[f.name] = st.integers(int(allowed.least), int(allowed.most))
        elif allowed:
            values[f.name] = st.floats(allowed.least, allowed.most, exclude_min=allowed.above)
    return st.builds(SECTIONS[name], **values)


variants = st.builds(
    Variant,
    name=names,
    width=st.integers(1, 16_383),
    height=st.integers(1, 16_383),
    quality=st.integers(1, 100),
    effort=st.none() | st.integers(0, 9),
    background=st.tuples(*[st.integers(0, 255)] * 3),
)
open_variants = st.builds(Variant, name=names, width=st.none(), height=st.integers(1, 16_383), fit=st.just(Fit.INSIDE))
roots = st.builds(
    RootSettings,
    path=texts.map(lambda text: "/" + text.strip("/.") + "x").map(os.path.normpath).filter(lambda p: "\0" not in p),
    ignore=st.lists(texts.filter(bool), max_size=3).map(tuple),
    svg=st.booleans(),
    follow_symlinks=st.booleans(),
)
everything = st.builds(
    Settings,
    roots=st.lists(roots, max_size=3, unique_by=lambda root: root.path).map(tuple),
    variants=st.lists(variants | open_variants, min_size=1, max_size=4, unique_by=lambda v: v.name).map(tuple),
    settle=section("settle").map(lambda s: replace(s, closed_quiet_s=min(s.closed_quiet_s, s.open_quiet_s))),
    retry=section("retry").map(lambda s: replace(s, first_delay_s=min(s.first_delay_s, s.max_delay_s))),
    **{name: section(name) for name in SECTIONS if name not in {"settle", "retry"}},
)


@given(everything)
def test_what_show_writes_loads_to_the_same_settings(settings: Settings) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as file:
        file.write(show(settings))
        file.flush()
        assert load(file.name) == settings


def test_show_marks_what_is_a_default() -> None:
    text = show(Settings(pool=PoolSettings(workers=2)))
    assert ("workers = 2\n" in text, "cpu_limit = 1.0  # default\n" in text) == (True, True)


def test_show_says_that_a_name_cannot_stand_in_a_file() -> None:
    text = show(from_command_line([b"/b\xff"], Settings()))
    assert ('path = "/b\\\\xff"' in text, "name this folder by --watch" in text) == (True, True)


def test_every_number_has_a_range() -> None:
    numbers = {
        (name, f.name)
        for name, kind in {**SECTIONS, "roots": RootSettings}.items()
        for f in fields(kind)
        if type(f.default) in {int, float}
    }
    of_lists = {("roots", "min_free_bytes"), ("variants", "quality"), ("variants", "effort")}
    assert set(rules.RANGES) == numbers | of_lists


def test_every_default_is_in_its_range() -> None:
    settings = Settings()
    values = {place: getattr(getattr(settings, place[0]), place[1]) for place in rules.RANGES if place[0] in SECTIONS}
    assert [place for place, value in values.items() if not rules.RANGES[place].allows(value)] == []


def test_the_schema_knows_every_setting_and_range() -> None:
    made = schema()
    keys = {name: set(table["properties"]) for name, table in made["properties"].items() if name in SECTIONS}
    assert keys == {name: {f.name for f in fields(kind)} for name, kind in SECTIONS.items()}
    assert set(made["properties"]["variants"]["additionalProperties"]["properties"]) == set(VARIANT_KEYS)
    assert made["properties"]["pool"]["properties"]["workers"] == {
        "default": 0,
        "type": "integer",
        "minimum": 0,
        "maximum": 64,
    }
    assert json.loads(json.dumps(made)) == made


def test_levels_in_a_file_are_those_of_the_model(write: Any) -> None:
    assert load(write('[log]\nlevel = "debug"\n')).log.level is LogLevel.DEBUG
