"""The types of the settings: frozen values, each with its default. How they are read and checked: `watcherd.config`.

A pure leaf. Lengths of time are in seconds (`_s`), sizes in bytes (`_bytes`). `__pydantic_config__` has the
configuration refuse keys that are not fields here; nothing of pydantic is imported for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from watcherd.model import PREVIEW, THUMBNAIL, OutputFormat, Variant

MAX_VARIANTS = 200
"""A worker hands over a source's derivatives at once, each as a descriptor, and the kernel lets 253 go together."""
WRITING_EXTRAS: Mapping[OutputFormat, tuple[str, str]] = MappingProxyType({OutputFormat.JXL: ("jxl", "pillow_jxl")})
"""Formats that are written by an extra: its name, and the module that it installs."""


class OnDelete(StrEnum):
    """What becomes of the derivatives of a deleted source."""

    REMOVE = "remove"
    KEEP = "keep"


class LayoutKind(StrEnum):
    """Where derivatives lie: beside their source, in a hidden folder there, or in a tree of their own."""

    SIBLING = "sibling"
    SUBFOLDER = "subfolder"
    MIRROR = "mirror"


class LogFormat(StrEnum):
    """`auto`: readable on a terminal, JSON lines elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe event that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Sandbox(StrEnum):
    """The fence around workers: as much of it as the kernel has, all of it or no start, or none of it."""

    AUTO = "auto"
    REQUIRE = "require"
    OFF = "off"


class ModeWanted(StrEnum):
    """How new files are to be found: by events, by events and frequent scans, by scans alone; `auto`: as it fits."""

    AUTO = "auto"
    NATIVE = "native"
    HYBRID = "hybrid"
    SCAN = "scan"


class Durability(StrEnum):
    """Whether a derivative is on the disk before it has its name, or is brought there soon after."""

    FULL = "full"
    FAST = "fast"


class Hidden(StrEnum):
    """Whether files and folders count whose names begin with a dot."""

    SKIP = "skip"
    INCLUDE = "include"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSettings:
    """One watched directory. `path` is absolute and without symbolic links once loaded; no `variants`: all of them.

    `subfolder` is the name of the hidden folder, `mirror` the tree (absolute as `path` is) of the layouts of that name.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: str
    variants: tuple[str, ...] = ()
    on_delete: OnDelete = OnDelete.REMOVE
    ignore: tuple[str, ...] = ()
    backfill: str = "all"
    min_free_bytes: int = 0
    svg: bool = False
    layout: LayoutKind = LayoutKind.SIBLING
    subfolder: str = ".derivatives"
    mirror: str = ""
    hidden: Hidden = Hidden.SKIP
    min_bytes: int = 0
    max_bytes: int = 0
    max_age_s: float = 0.0
    mode: ModeWanted = ModeWanted.AUTO
    scan_interval_s: float = 0.0
    error_notes: bool = False
    follow_symlinks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleSettings:
    """When an upload counts as complete (seconds)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    closed_quiet_s: float = 0.5
    open_quiet_s: float = 5.0
    network_quiet_s: float = 10.0
    max_wait_s: float = 60.0
    incomplete_grace_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What a source may be at the most; checked on its header, before anything is decoded."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_bytes: int = 512 * 1024 * 1024
    max_pixels: int = 150_000_000
    max_side: int = 65_500
    max_frames: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """The workers. `workers` 0: one a core; `memory_bytes` 0: half of what is available (70 % above 16 GB)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    workers: int = 0
    cpu_limit: float = 1.0
    memory_bytes: int = 0
    recycle_after_jobs: int = 2_000
    recycle_above_bytes: int = 400 * 1024 * 1024
    timeout_s: float = 60.0
    boot_timeout_s: float = 30.0
    sandbox: Sandbox = Sandbox.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """How often a source is tried. `faults` are its own doing, `interruptions` are not."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_faults: int = 3
    max_interruptions: int = 10
    first_delay_s: float = 5.0
    max_delay_s: float = 600.0


class QuietWork(StrEnum):
    """What is begun in quiet hours: what a person asks for by hand, or uploads and edits too."""

    MANUAL = "manual"
    UPLOADS = "uploads"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """The daemon's own timers (seconds). `rescan_interval_s` and `full_scan_interval_s` 0: at start and in doubt only.

    `scan_rate`: entries a second that a sweep reads at the most, 0 for no limit.
    `brake_*`: when more than this share of a root's sources (0 to 1; 1: never), and more than `brake_floor`, go within
    an hour, their derivatives are kept until `watcherd prune`, or for `brake_grace_s`.

    `quiet_hours` are spans of the day in local time, "22:00-06:00".
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rescan_interval_s: float = 3600.0
    full_scan_interval_s: float = 86_400.0
    scan_rate: int = 0
    forget_after_s: float = 60.0
    brake_share: float = 0.2
    brake_floor: int = 100
    brake_grace_s: float = 604_800.0
    metrics_interval_s: float = 60.0
    drain_timeout_s: float = 60.0
    durability: Durability = Durability.FULL
    quiet_hours: tuple[str, ...] = ()
    quiet_hours_allow: QuietWork = QuietWork.MANUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Where the metrics can be had: a socket in the state directory, a port of 127.0.0.1 (0: none), a text file."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    socket: bool = True
    port: int = 0
    textfile: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How the log is written; it goes to standard error."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    format: LogFormat = LogFormat.AUTO
    level: LogLevel = LogLevel.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, validated and frozen. `variants` is never empty; the defaults are `thumbnail` and `preview`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    roots: tuple[RootSettings, ...] = ()
    variants: tuple[Variant, ...] = (THUMBNAIL, PREVIEW)
    settle: SettleSettings = field(default_factory=SettleSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    log: LogSettings = field(default_factory=LogSettings)

    def variants_of(self, root: RootSettings) -> tuple[Variant, ...]:
        """The recipes that apply to a root, in the configuration's order."""
        return tuple(v for v in self.variants if not root.variants or v.name in root.variants)
