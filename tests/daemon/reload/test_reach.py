"""How far a reload reaches: every setting is thought about, and what waits for a restart stays as it is."""

from dataclasses import fields, replace
from pathlib import Path

from watcherd.daemon.reload.reach import REACH, Reach, changed, reachable
from watcherd.model import PREVIEW
from watcherd.settings import LimitSettings, PoolSettings, RootSettings, Sandbox, Settings


def every_setting() -> set[str]:
    """`table.key` of each setting; `variants` as a whole."""
    names = {"variants"} | {f"roots.{one.name}" for one in fields(RootSettings)}
    for table in fields(Settings):
        if table.name not in {"roots", "variants"}:
            names |= {f"{table.name}.{one.name}" for one in fields(getattr(Settings(), table.name))}
    return names


def test_every_setting_is_either_applied_live_or_named_as_needing_a_restart() -> None:
    assert set(REACH) == every_setting()


def test_what_can_be_applied_is_taken_as_it_is_wanted() -> None:
    wanted = Settings(pool=PoolSettings(workers=3), limits=LimitSettings(max_side=10), variants=(PREVIEW,))

    assert reachable(Settings(), wanted) == (wanted, ())


def test_what_needs_a_restart_stays_in_force_and_is_named() -> None:
    wanted = Settings(pool=PoolSettings(workers=3, sandbox=Sandbox.OFF))

    assert reachable(Settings(), wanted) == (Settings(pool=PoolSettings(workers=3)), ("pool.sandbox",))


def test_nothing_is_named_that_is_as_it_was() -> None:
    settings = Settings(pool=PoolSettings(sandbox=Sandbox.REQUIRE))

    assert reachable(settings, replace(settings)) == (settings, ())
    assert changed(settings, replace(settings)) == ()


def test_changed_settings_are_named() -> None:
    wanted = Settings(pool=PoolSettings(workers=3, cpu_limit=0.5), limits=LimitSettings(max_side=10))

    assert set(changed(Settings(), wanted)) == {"pool.workers", "pool.cpu_limit", "limits.max_side"}


def test_the_readme_names_what_needs_a_restart() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    waiting = [name for name, how in REACH.items() if how is Reach.RESTART]

    assert waiting
    assert [name for name in waiting if f"`[{name.split('.')[0]}] {name.split('.')[1]}`" not in readme] == []
