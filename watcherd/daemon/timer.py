"""A timer of the loop: due again and again, at even distances. Reads no clock."""

from dataclasses import dataclass


@dataclass(slots=True)
class Every:
    """A timer. `interval_s` 0: never."""

    interval_s: float
    next_at: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it has run out; it then starts anew."""
        if not self.interval_s:
            return False
        if not self.next_at:
            self.next_at = now + self.interval_s
        if now < self.next_at:
            return False
        self.next_at = now + self.interval_s
        return True

    def deadline(self) -> float | None:
        """When it runs out."""
        return self.next_at if self.interval_s else None

    def change(self, interval_s: float, now: float) -> None:
        """Run with another interval from now on, if it is another one."""
        if interval_s != self.interval_s:
            self.interval_s, self.next_at = interval_s, now + interval_s
