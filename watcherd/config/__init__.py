"""Configuration: from a TOML file and the command line to the frozen settings of `watcherd.settings`.

Responsible for: reading (`load`), merging the command line (`from_command_line`), checking what needs the disk
(`validate`), and writing it down again (`show`, `schema`, `example`). Every error of a file is reported at once.
Not responsible for: where a configuration file is looked for, exit codes, and reloading.
"""

from watcherd.config.disk import validate
from watcherd.config.reading import from_command_line, load
from watcherd.config.source import ConfigError, Problem
from watcherd.config.writing import example, schema, show

__all__ = ["ConfigError", "Problem", "example", "from_command_line", "load", "schema", "show", "validate"]
