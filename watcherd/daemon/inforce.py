"""The settings in force: one value that all rooms share, so that a reload has one place to change.

Rooms keep the whole of it and look a setting up where they use it; none copies one. Not responsible for: reading them
(`config/`), nor for what else a reload has to do (`reload/refitting.py`).
"""

from dataclasses import dataclass

from watcherd.settings import Settings


@dataclass(slots=True, kw_only=True)
class InForce:
    """The settings, and what follows from them on this machine.

    `seen_by` names the decoder table and the limits, for which a rejection holds; `most_workers` and `budget_bytes`
    are how many workers there may be, and what their jobs may cost together. Changed by the loop's thread alone.
    """

    settings: Settings
    seen_by: int
    most_workers: int
    budget_bytes: int
