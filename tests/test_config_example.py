"""config.example.toml: complete, right, and what the documentation promises."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from watcherd.config import example, load
from watcherd.config.reading import SECTIONS, VARIANT_KEYS
from watcherd.config.rules import PRESETS
from watcherd.model import Variant
from watcherd.settings import RootSettings, Settings

FILE = Path(__file__).parent.parent / "config.example.toml"


def with_roots() -> str:
    """The example after its root was uncommented, as a user does."""
    head, table, rest = FILE.read_text().partition("[variants.thumbnail]")
    return re.sub(r"^# (\[\[roots\]\]|[a-z_]+ = )", r"\1", head, flags=re.MULTILINE) + table + rest


def test_the_example_loads_to_the_defaults() -> None:
    assert load(str(FILE)) == Settings()


def test_the_example_with_its_root_uncommented_loads_too(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(with_roots())
    assert load(str(path)) == Settings(roots=(RootSettings(path="/srv/uploads"),))


def test_the_example_names_every_setting() -> None:
    document = tomllib.loads(with_roots())
    named = {name: set(document[name]) for name in SECTIONS}
    assert named == {name: {f.name for f in fields(kind)} for name, kind in SECTIONS.items()}
    assert set(document["roots"][0]) == {f.name for f in fields(RootSettings)}
    assert set(document["variants"]["thumbnail"]) == set(VARIANT_KEYS) - {"preset"}


def test_the_example_describes_a_variant_that_has_the_defaults() -> None:
    thumbnail = load(str(FILE)).variants[0]
    assert thumbnail == Variant(name="thumbnail", width=200, height=200)


def test_the_example_names_every_preset() -> None:
    assert [name for name in PRESETS if not re.search(rf"\b{name}\b", FILE.read_text())] == []


def test_no_line_of_the_example_is_too_long() -> None:
    assert [line for line in FILE.read_text().splitlines() if len(line) > 120] == []


def test_the_package_gives_the_example_out() -> None:
    assert example() == FILE.read_text()
