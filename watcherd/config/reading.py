"""From a configuration file and the command line to `Settings`.

Responsible for: unknown keys, wrong types, ranges, and what the values must be to each other; all of it at once.
Not responsible for: the look of single values (`rules`), lines and syntax (`source`), the disk (`disk`).

Types are checked by pydantic, strictly, against the dataclasses of `watcherd.settings`; it is imported only when a
file is read, because it takes longer to import than everything else here together.
"""

import datetime as dt
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, TypeVar, get_type_hints

from watcherd import backfill
from watcherd.config import hours, rules
from watcherd.config.source import Place, SourceFile, meant, read
from watcherd.model import ColourPolicy, Fit, OutputFormat, Variant
from watcherd.naming import VARIANT_NAME
from watcherd.settings import MAX_VARIANTS, WRITING_EXTRAS, LayoutKind, RootSettings, Settings

T = TypeVar("T")

_MAX_SIDE = {OutputFormat.WEBP: ("WebP", 16_383), OutputFormat.AVIF: ("AVIF", 32_768)}
SECTIONS: Mapping[str, type[Any]] = {
    name: kind for name, kind in get_type_hints(Settings).items() if isinstance(kind, type) and is_dataclass(kind)
}
"""The plain tables: `[settle]`, `[limits]` and so on, with the dataclass of each."""
VARIANT_KEYS = ("preset", "box", *(f.name for f in fields(Variant) if f.name not in {"name", "width", "height"}))
"""What may stand in `[variants.NAME]`."""


def load(path: str) -> Settings:
    """Read a configuration file. The roots' paths become absolute, but nothing is looked up on the disk but the file.

    Raises ConfigError with everything that is wrong with it.
    """
    source = read(path)
    _unknown(source, source.document, (), [f.name for f in fields(Settings)])
    sections = {name: _section(source, name, kind) for name, kind in SECTIONS.items()}
    variants = _variants(source)
    roots = _roots(source, list(variants))
    _relations(source, sections)
    source.raise_if_wrong()
    made: dict[str, Any] = {"roots": tuple(roots), **sections}
    if variants:
        made["variants"] = tuple(variants.values())
    return Settings(**made)


def from_command_line(watch: Sequence[bytes | str], base: Settings) -> Settings:
    """The settings with the folders of `--watch` added to the roots. Names that are not UTF-8 come in either form."""
    roots = {root.path: root for root in base.roots}
    for folder in watch:
        path = os.path.abspath(os.fsdecode(folder))
        roots.setdefault(path, RootSettings(path=path))
    return replace(base, roots=tuple(roots.values()))


def root_path(path: str, file: str) -> str:
    """The absolute path of a root as it is written in a file: `~` is the user's, the rest is relative to the file."""
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(file)), os.path.expanduser(path)))


# ------------------------------------------------------------------------------------------------------------ tables


def _section(source: SourceFile, name: str, kind: type[T]) -> T | None:
    given = _table(source, source.document.get(name, {}), (name,))
    return _checked(source, kind, given, (name,))


def _roots(source: SourceFile, variants: Sequence[str]) -> list[RootSettings]:
    given = source.document.get("roots", [])
    if not isinstance(given, list):
        source.report(("roots",), "roots are written as [[roots]], in double brackets, one for each folder")
        return []
    roots: dict[str, RootSettings] = {}
    for number, value in enumerate(given):
        place: Place = ("roots", number)
        table = _table(source, value, place)
        _check_variants_of_root(source, table.get("variants"), variants or [v.name for v in Settings().variants], place)
        root = _checked(source, RootSettings, table, place)
        if root is None:
            continue
        _check_root(source, root, place)
        path = root_path(root.path, source.name)
        if path in roots:
            source.report((*place, "path"), f'"{root.path}" is already a root')
        roots[path] = replace(root, path=path, mirror=root.mirror and root_path(root.mirror, source.name))
    return list(roots.values())


def _check_variants_of_root(source: SourceFile, given: object, variants: Sequence[str], place: Place) -> None:
    for name in given if isinstance(given, list) else []:
        if isinstance(name, str) and name not in variants:
            message = f'unknown variant "{name}" in [[roots]]{meant(name, variants)}'
            if name in rules.PRESETS:
                message = f'unknown variant "{name}" in [[roots]]; the preset of that name wants a [variants.{name}]'
            source.report((*place, "variants"), message)


def _check_root(source: SourceFile, root: RootSettings, place: Place) -> None:
    if not root.path.strip() or "\0" in root.path:
        source.report((*place, "path"), '"path" in [[roots]] must name a folder')
    if "" in root.ignore:
        source.report((*place, "ignore"), 'a pattern of "ignore" in [[roots]] is empty')
    try:
        backfill.parse(root.backfill)
    except ValueError as error:
        _must_be(source, (*place, "backfill"), str(error), root.backfill)
    if not rules.is_subfolder(root.subfolder):
        _must_be(source, (*place, "subfolder"), rules.SUBFOLDER_EXPECTED, root.subfolder)
    if root.layout is LayoutKind.MIRROR and not root.mirror.strip():
        source.report((*place, "layout"), '"layout" = "mirror" in [[roots]] needs a "mirror": the folder of that tree')
    if root.mirror and (root.layout is not LayoutKind.MIRROR or "\0" in root.mirror):
        source.report(
            (*place, "mirror"), '"mirror" in [[roots]] must name a folder, and counts only with layout = "mirror"'
        )


def _variants(source: SourceFile) -> dict[str, Variant | None]:
    """Every variant that the file names, in its order; None where it is wrong."""
    given = _table(source, source.document.get("variants", {}), ("variants",))
    if len(given) > MAX_VARIANTS:
        excess = list(given)[MAX_VARIANTS]
        source.report(
            ("variants", excess), f"[variants.{excess}] is one too many: there may be {MAX_VARIANTS} variants"
        )
    return {name: _variant(source, name, value) for name, value in given.items()}


def _variant(source: SourceFile, name: str, value: object) -> Variant | None:
    place: Place = ("variants", name)
    if VARIANT_NAME.fullmatch(name) is None:
        source.report(place, f'"{name}" cannot name a variant: a-z, 0-9, "-" and "_", at most 32, not "-" or "_" first')
    given = _table(source, value, place)
    _unknown(source, given, place, VARIANT_KEYS)
    preset = given.pop("preset", name if name in rules.PRESETS else None)
    if preset is not None and (not isinstance(preset, str) or preset not in rules.PRESETS):
        hint = meant(preset, rules.PRESETS) if isinstance(preset, str) else ""
        source.report((*place, "preset"), f"unknown preset {_written(preset)} in {_named(place)}{hint}")
        return None
    if preset is None and "box" not in given:
        hint = meant(name, rules.PRESETS, form="[variants.{}]")
        source.report(place, f'{_named(place)} needs a "box" or a "preset"{hint}')
        return None
    base = asdict(rules.PRESETS[preset]) if isinstance(preset, str) else {}
    variant = _checked(source, Variant, base | {"name": name} | _plain(source, given, place), place)
    if variant is not None:
        _check_variant(source, variant, place)
    return variant


def _plain(source: SourceFile, given: dict[str, object], place: Place) -> dict[str, object]:
    """The keys of a variant in the words of the dataclass: the box as two sides, the colour as three numbers."""
    plain = {key: value for key, value in given.items() if key in VARIANT_KEYS and key != "box"}
    if plain.get("effort") == "auto":
        plain["effort"] = None
    try:
        if "background" in plain:
            plain["background"] = rules.colour(plain["background"])
    except ValueError as error:
        _must_be(source, (*place, "background"), str(error), plain.pop("background"))
    try:
        if "box" in given:
            plain["width"], plain["height"] = rules.box(given["box"])
    except ValueError as error:
        _must_be(source, (*place, "box"), str(error), given["box"])
        plain["width"] = plain["height"] = 1
    return plain


def _check_variant(source: SourceFile, variant: Variant, place: Place) -> None:
    if variant.fit is not Fit.INSIDE and None in {variant.width, variant.height}:
        source.report((*place, "box"), f'"fit" = "{variant.fit}" in {_named(place)} needs both sides of the box')
    spoken, longest = _MAX_SIDE.get(variant.format, ("", rules.MAX_BOX))
    if max(variant.width or 0, variant.height or 0) > longest:
        source.report((*place, "box"), f"{_named(place)} is too large: {spoken} ends at {longest} pixels a side")
    if variant.format is OutputFormat.JXL and variant.colour is ColourPolicy.KEEP:
        source.report((*place, "colour"), f'"colour" = "keep" in {_named(place)} cannot be had: jxl is written in sRGB')
    extra, module = WRITING_EXTRAS.get(variant.format, ("", ""))
    if extra and find_spec(module) is None:
        cause = f"needs an extra encoder: pip install 'watcherd[{extra}]'"
        source.report((*place, "format"), f'"format" = "{variant.format}" in {_named(place)} {cause}')


def _relations(source: SourceFile, sections: Mapping[str, Any]) -> None:
    retry, settle, metrics, daemon = (sections[name] for name in ("retry", "settle", "metrics", "daemon"))
    for text in daemon.quiet_hours if daemon else ():
        try:
            hours.span(text)
        except ValueError as error:
            _must_be(source, ("daemon", "quiet_hours"), str(error), text)
    if metrics and metrics.textfile and not re.fullmatch(r"/[^\0]*\.prom", metrics.textfile, re.DOTALL):
        expected = "an absolute path that ends in .prom, as node_exporter reads no other"
        _must_be(source, ("metrics", "textfile"), expected, metrics.textfile)
    if retry and retry.first_delay_s > retry.max_delay_s:
        source.report(("retry", "first_delay_s"), '"first_delay_s" in [retry] must not be more than "max_delay_s"')
    if settle and settle.closed_quiet_s > settle.open_quiet_s:
        source.report(("settle", "closed_quiet_s"), '"closed_quiet_s" in [settle] must not be more than "open_quiet_s"')


# ------------------------------------------------------------------------------------------------------ keys and types


def _table(source: SourceFile, value: object, place: Place) -> dict[str, object]:
    if isinstance(value, dict):
        return dict(value)
    source.report(place, f"{_named(place)} must be a table, not {_written(value)}")
    return {}


def _unknown(source: SourceFile, given: Mapping[str, object], place: Place, known: Sequence[str]) -> None:
    for key in given:
        if key in known:
            continue
        if place:
            message = f'unknown key "{key}" in {_named(place)}{_home(key) or meant(key, known)}'
        elif isinstance(given[key], dict | list):
            message = f"unknown table [{key}]{meant(key, known, form='[{}]')}"
        else:
            message = f'unknown key "{key}" outside all tables{_home(key)}'
        source.report((*place, key), message)


def _home(key: str) -> str:
    """Where a key that is known elsewhere belongs."""
    homes = [f"; did you mean it in [{name}]?" for name, kind in SECTIONS.items() if key in get_type_hints(kind)]
    return "".join(homes[:1])


def _checked(source: SourceFile, kind: type[T], given: dict[str, object], place: Place) -> T | None:
    """The dataclass made of a table, or None after the problems were reported."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - see the module's docstring

    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if kind is not Variant:
        _unknown(source, given, place, known)
    values = {key: _sized(key, value) for key, value in given.items() if key in known}
    wrong = _out_of_range(source, values, place)
    try:
        text = json.dumps(values, default=lambda value: {type(value).__name__: str(value)})  # dates fit no setting
        made: T = TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        for found in error.errors(include_url=False):
            key = str(found["loc"][0])
            if found["type"] == "missing":
                source.report(place, f'{_named(place)} needs a "{key}"')
            else:
                hint = get_type_hints(kind)[key]
                _must_be(source, (*place, *found["loc"]), _expected(key, hint), given[key], hint)
        return None
    return None if wrong else made


def _sized(key: str, value: object) -> object:
    if key.endswith("_bytes") and isinstance(value, str):
        try:
            return rules.size(value)
        except ValueError:
            return value
    return value


def _out_of_range(source: SourceFile, values: Mapping[str, object], place: Place) -> bool:
    wrong = False
    for key, value in values.items():
        allowed = rules.RANGES.get((str(place[0]), key))
        if allowed is None or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not allowed.allows(value):
            _must_be(source, (*place, key), str(allowed), value)
            wrong = True
    return wrong


# ------------------------------------------------------------------------------------------------------------ wording


def _must_be(source: SourceFile, place: Place, expected: str, value: object, hint: object = None) -> None:
    table, key = (place[:2], place[2]) if place[0] in {"roots", "variants"} else (place[:1], place[1])
    close = ""
    if isinstance(hint, type) and issubclass(hint, StrEnum) and isinstance(value, str):
        close = meant(value, list(hint))
    source.report(place, f'"{key}" in {_named(table)} must be {expected}, not {_written(value)}{close}')


def _expected(key: str, hint: object) -> str:
    if key.endswith("_s"):
        return "a number of seconds"
    if key.endswith("_bytes"):
        return rules.SIZE_EXPECTED
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "one of " + ", ".join(f'"{value}"' for value in hint)
    if key == "effort":
        return 'a whole number or "auto"'
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text in quotes"}
    return words[hint] if isinstance(hint, type) and hint in words else "a list of texts in quotes"


def _named(place: Place) -> str:
    match place:
        case ["roots", int()]:
            return "[[roots]]"
        case _:
            return f"[{'.'.join(str(part) for part in place)}]"


def _written(value: object) -> str:
    """A value as the file has it, shortened."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value if len(value) <= 40 else value[:40] + "...", ensure_ascii=False)
        case list():
            text = "[" + ", ".join(_written(item) for item in value) + "]"
            return text if len(text) <= 60 else "a list"
        case dict():
            return "a table"
        case dt.date() | dt.time():
            return "a date or time"
        case _:
            return str(value)
