"""Where the settings of a run come from, so that they can be read again: a file, and the command line.

Not responsible for: reading itself (`config/`), nor for when it is done (`reloads.py`). Reading looks at the folders
that are named, so it can take as long as the slowest of them.
"""

from collections.abc import Container
from dataclasses import dataclass

from watcherd import config
from watcherd.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """`file`: the configuration file, if there is one. `watch`: the folders of the command line."""

    file: str | None
    watch: tuple[str, ...]
    state_dir: str

    def read(self, *, seen: Container[str]) -> Settings:
        """Read, check, and look at the folders: those in `seen` may be missing, or not answer. Raises ConfigError."""
        settings = config.load(self.file) if self.file else Settings()
        settings = config.from_command_line(self.watch, settings)
        if not settings.roots and self.file:
            message = "nothing to watch: add a [[roots]] table with a path, or give a folder with --watch"
            raise config.ConfigError([config.Problem(file=self.file, line=1, message=message)])
        return config.validate(settings, self.state_dir, file=self.file, may_be_missing=seen)
