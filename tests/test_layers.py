"""The house rules that can be read off the source: who imports whom, what pure modules stay away from, and lengths."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "watcherd"
MODULES = sorted(path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py"))

STAGES = {"watch", "queue", "pool", "imaging", "derivatives", "ledger", "telemetry"}
LEAVES = {
    "watcherd.backfill",
    "watcherd.model",
    "watcherd.naming",
    "watcherd.settings",
    "watcherd.telemetry.declared",
    "watcherd.telemetry.events",
}
BETWEEN_STAGES = {
    ("watcherd.watch.hands.", "derivatives"),
    ("watcherd.pool.worker.", "imaging"),
    ("watcherd.pool.library.requests.", "queue"),  # the library's pool retries as the daemon does
}

PURE = {
    *LEAVES,
    *("watcherd.derivatives.wrecks", "watcherd.ledger.unsynced"),
    *(f"watcherd.watch.{name}" for name in ("settle", "ignore", "roots", "reports")),
    *(f"watcherd.service.{name}" for name in ("places", "texts", "steps", "plan", "removal")),
    *(
        f"watcherd.watch.{name}"
        for name in ("identity", "recognition", "linking", "modes", "sweeps", "foldertimes", "selection")
    ),
    *(f"watcherd.pool.{name}" for name in ("fleet", "slots", "restarts", "orders", "admission", "sizing", "frames")),
    *("watcherd.pool.blame", "watcherd.pool.rests"),
}
PURE_FOLDERS = ("watcherd.queue.",)
VALUE_MODULES = {
    *("abc", "base64", "bisect", "collections", "dataclasses", "datetime", "enum", "errno", "fnmatch", "functools"),
    *(
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "shlex",
        "string",
        "struct",
        "tomllib",
        "types",
        "typing",
    ),
}

DOORS = {
    "watchdog": ("watcherd.watch.observing.observer.", "watcherd.watch.observing.inotify."),
    **dict.fromkeys(("pyvips", "PIL"), ("watcherd.imaging.",)),
    **dict.fromkeys(("pillow_heif", "pillow_jxl", "rawpy", "pypdfium2", "av"), ("watcherd.imaging.",)),
    "sqlite_utils": ("watcherd.ledger.",),
    "pathspec": ("watcherd.watch.ignorefiles.",),
}
CHANCE_FROM = {"watcherd.daemon.composition", "watcherd.pool.library.pool"}
NO_MODULES = {"utils", "helpers", "common", "types", "constants", "manager", "exceptions", "base"}
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 40


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def parsed(path: Path) -> ast.Module:
    return ast.parse((PACKAGE.parent / path).read_bytes())


def imports(path: Path) -> Iterator[str]:
    """The full names of what a module imports, anywhere in it; `from a import b` gives `a.b` if that is a module."""
    names = {dotted(module) for module in MODULES}
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from (name if name in names else node.module for name in whole)


def room(module: str) -> str:
    """The folder of a module in the package, or its own name where it lies at the top."""
    return module.partition(".")[2].partition(".")[0]


def is_pure(module: str) -> bool:
    return module in PURE or module.startswith(PURE_FOLDERS)


def may_import(module: str, other: str) -> bool:
    """Whether the layers allow one module of the package to import another."""
    here, there = room(module), room(other)
    if other in LEAVES or other == "watcherd":
        return True
    if module in LEAVES:
        return False
    if here in STAGES:
        return here == there or any(f"{module}.".startswith(mine) and there == of for mine, of in BETWEEN_STAGES)
    if here == "config":
        return there == "config"
    if here == "service":
        return there == "service" or other == "watcherd.watch.mounts"
    if here == "daemon":
        return there in STAGES | {"daemon", "config"}
    return module == "watcherd" or here in {"cli", "__main__"}


every_module = pytest.mark.parametrize("path", MODULES, ids=dotted)


@every_module
def test_imports_run_downwards_only(path: Path) -> None:
    module = dotted(path)
    inside = [name for name in imports(path) if name.split(".")[0] == "watcherd"]

    assert [name for name in inside if not may_import(module, name)] == []


@every_module
def test_pure_modules_import_values_only(path: Path) -> None:
    if is_pure(dotted(path)):
        allowed = [name for name in imports(path) if name.split(".")[0] in VALUE_MODULES or is_pure(name)]

        assert sorted(set(imports(path)) - set(allowed)) == []


@every_module
def test_chance_is_handed_in_where_a_program_is_put_together(path: Path) -> None:
    assert "random" not in imports(path) or dotted(path) in CHANCE_FROM


@every_module
def test_each_library_has_one_door(path: Path) -> None:
    module = dotted(path)
    doors = {name: DOORS[name.split(".")[0]] for name in imports(path) if name.split(".")[0] in DOORS}

    assert {name: door for name, door in doors.items() if not f"{module}.".startswith(door)} == {}


@every_module
def test_no_module_is_a_drawer_for_anything(path: Path) -> None:
    assert not NO_MODULES & set(path.with_suffix("").parts)


@every_module
def test_files_are_short(path: Path) -> None:
    lines = (PACKAGE.parent / path).read_bytes().count(b"\n")

    assert lines <= MOST_LINES_OF_A_FILE


@every_module
def test_functions_are_short(path: Path) -> None:
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f"{one.name} (line {one.lineno})": (one.end_lineno or 0) - one.lineno + 1 for one in functions}

    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FUNCTION} == {}


@every_module
def test_each_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(parsed(path))


def test_the_layers_are_those_of_the_design() -> None:
    """The rule itself, tried on what it must refuse and must allow."""
    refused = [
        ("watcherd.model", "watcherd.naming.x"),
        ("watcherd.watch.settle", "watcherd.queue.plan"),
        ("watcherd.watch.scanning.scanner", "watcherd.derivatives.publish"),
        ("watcherd.queue.plan", "watcherd.daemon.loop"),
        ("watcherd.daemon.loop", "watcherd.cli"),
        ("watcherd.pool.worker", "watcherd.telemetry.log"),
    ]
    allowed = [
        ("watcherd.watch.settle", "watcherd.model"),
        ("watcherd.watch.hands.hands", "watcherd.derivatives.publish"),
        ("watcherd.pool.worker", "watcherd.imaging.render"),
        ("watcherd.ledger.ledger", "watcherd.telemetry.events"),
        ("watcherd.daemon.loop", "watcherd.ledger.ledger"),
        ("watcherd.cli", "watcherd.daemon.loop"),
    ]

    assert [pair for pair in refused if may_import(*pair)] == []
    assert [pair for pair in allowed if not may_import(*pair)] == []
