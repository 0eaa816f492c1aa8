"""What the edge says of the calls that it refused."""

from tieline.edge.haproxy import Master
from tieline.edge.reports import RefusalReports


class FakeMaster(Master):
    """A HAProxy that has refused nothing, and may be silent."""

    def __init__(self) -> None:
        self.is_silent = False

    async def worker_id(self) -> int | None:
        return None if self.is_silent else 7

    async def ask(self, command: str) -> str:
        return ""


async def test_sequence_counts_the_seconds_also_those_without_a_report() -> None:
    """Rates are taken over the difference of two sequences."""
    master, now = FakeMaster(), 100.0
    reports = RefusalReports(master, ["messaging"], "edge-0", clock=lambda: now)
    sequences = []
    for second in range(1, 8):
        now = 100.0 + second
        master.is_silent = 3 <= second <= 5
        sequences += [each.sequence for each in await reports.read()]

    assert sequences == [1, 2, 6, 7]
