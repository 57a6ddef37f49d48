"""Settings written down: as TOML that loads to the same settings, as a JSON Schema, and the example file.

Responsible for: `show`, `schema`, `example`. Not responsible for: reading.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from enum import StrEnum
from typing import Any

from watcherd.config import rules
from watcherd.config.reading import SECTIONS, VARIANT_KEYS
from watcherd.model import Variant
from watcherd.settings import RootSettings, Settings

_MIB = 1024 * 1024
_EXAMPLE = "config.example.toml"


def example() -> str:
    """The complete, commented example: every setting with its default."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (package, os.path.dirname(package)):  # inside an installed package; beside it in a source tree
        path = os.path.join(folder, _EXAMPLE)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                return stream.read()
    raise FileNotFoundError(f"{_EXAMPLE} is missing from this installation of watcherd")


# --------------------------------------------------------------------------------------------------------------- TOML


def show(settings: Settings) -> str:
    """The effective settings as TOML. What equals the default says so."""
    defaults = Settings()
    lines: list[str] = []
    for root in settings.roots:
        lines += ["", "[[roots]]", *_keys(root, RootSettings(path=root.path))]
        if not _is_utf8(root.path):
            lines.append("# The path is not UTF-8, which a file cannot say: name this folder by --watch.")
    for variant in settings.variants:
        lines += ["", f"[variants.{variant.name}]", *_variant(variant, rules.PRESETS.get(variant.name))]
    for name in SECTIONS:
        lines += ["", f"[{name}]", *_keys(getattr(settings, name), getattr(defaults, name))]
    return "\n".join(lines[1:]) + "\n"


def _keys(values: Any, defaults: Any) -> Iterator[str]:  # noqa: ANN401 - any two of the settings' dataclasses
    for f in fields(values):
        value = getattr(values, f.name)
        note = "  # default" if f.name != "path" and value == getattr(defaults, f.name) else ""
        yield f"{f.name} = {_toml(f.name, value)}{note}"


def _variant(variant: Variant, preset: Variant | None) -> Iterator[str]:
    defaults = preset or Variant(name=variant.name, width=None, height=None)
    same_box = (variant.width, variant.height) == (defaults.width, defaults.height)
    yield f'box = "{variant.width or ""}x{variant.height or ""}"' + ("  # default" if same_box else "")
    for key in VARIANT_KEYS[2:]:
        value = getattr(variant, key)
        note = "  # default" if value == getattr(defaults, key) else ""
        yield f"{key} = {_toml(key, value)}{note}"


def _toml(key: str, value: object) -> str:
    if value is None:
        return '"auto"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        in_mib = key.endswith("_bytes") and value and value % _MIB == 0
        return f'"{int(value) // _MIB}MiB"' if in_mib else str(value)
    if isinstance(value, tuple):
        if key == "background":
            return '"#{:02x}{:02x}{:02x}"'.format(*value)
        return "[" + ", ".join(_toml(key, item) for item in value) + "]"
    text = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_utf8(text: str) -> bool:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") == text


# -------------------------------------------------------------------------------------------------------- JSON Schema


def schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of the configuration file, for editors."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - only needed here, and slow to import

    tables = {name: TypeAdapter(kind).json_schema() for name, kind in SECTIONS.items()}
    tables["root"] = TypeAdapter(RootSettings).json_schema()
    tables["variants"] = TypeAdapter(Variant).json_schema()
    definitions: dict[str, Any] = {}
    for name, table in tables.items():
        definitions |= table.pop("$defs", {})
        for key, rule in table["properties"].items():
            rule.pop("title", None)
            _add_rule(rule, name, key)
    _describe_variant(tables["variants"])
    variants = {"type": "object", "additionalProperties": tables.pop("variants")}
    roots = {"type": "array", "items": tables.pop("root")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "watcherd configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": {"roots": roots, "variants": variants, **tables},
        "$defs": definitions,
    }


def _add_rule(rule: dict[str, Any], table: str, key: str) -> None:
    """Put the range of a number into its schema, and the text form of a size beside it."""
    allowed = rules.RANGES.get((table, key))
    if isinstance(rule.get("default"), StrEnum):
        rule["default"] = str(rule["default"])
    if allowed is None:
        return
    if not allowed.or_zero:
        rule["exclusiveMinimum" if allowed.above else "minimum"] = allowed.least
    if allowed.most < rules.UNBOUNDED:
        rule["maximum"] = allowed.most
    if key.endswith("_bytes"):
        number = {name: rule.pop(name) for name in ("type", "minimum", "maximum") if name in rule}
        rule["anyOf"] = [number, {"type": "string", "pattern": f"^{rules.SIZE_PATTERN}$"}]


def _describe_variant(table: dict[str, Any]) -> None:
    """Turn the schema of the dataclass into that of the table: box instead of sides, presets, words for values."""
    keys = table["properties"]
    for name in ("name", "width", "height"):
        del keys[name]
    for rule in keys.values():
        rule.pop("default", None)  # a preset may have another
    table["additionalProperties"] = False
    table.pop("required", None)
    sides = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}
    colour = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 3, "maxItems": 3}
    keys["box"] = {"anyOf": [{"type": "string", "pattern": f"^({rules.BOX_PATTERN})$"}, sides]}
    keys["preset"] = {"enum": list(rules.PRESETS)}
    keys["background"] = {"anyOf": [{"type": "string"}, colour]}
    keys["effort"] = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"const": "auto"}]}
