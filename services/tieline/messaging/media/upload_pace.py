"""Whether bytes come fast enough to be waited for. Pure: the clock is passed in."""

from dataclasses import dataclass

WINDOW_S = 10.0
MIN_BYTES_PER_S = 4 * 1024
"""A phone on the edge of the slowest network reaches more."""


@dataclass(slots=True)
class UploadPace:
    """Counts what arrives within a window and says until when the next bytes must."""

    window_start: float
    min_bytes_per_s: int = MIN_BYTES_PER_S
    window_s: float = WINDOW_S
    window_bytes: int = 0

    def note(self, size_bytes: int, now: float) -> bool:
        """Count bytes; False if the window that now ends had too few."""
        self.window_bytes += size_bytes
        if now - self.window_start < self.window_s:
            return True
        is_enough = self.window_bytes >= self.min_bytes_per_s * (now - self.window_start)
        self.window_start = now
        self.window_bytes = 0
        return is_enough

    @property
    def deadline(self) -> float:
        """When a stream that brings nothing at all has had its time."""
        return self.window_start + self.window_s
