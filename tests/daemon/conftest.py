"""A world around the core, for each test its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.world import World
from watcherd.settings import LogFormat, LogLevel, LogSettings
from watcherd.telemetry.log import configure


@pytest.fixture(autouse=True)
def _strict_log() -> None:
    configure(LogSettings(format=LogFormat.JSON, level=LogLevel.DEBUG), strict=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world
