"""Some groups of a faulty world in which somebody writes, and devices that read along."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import grpc

from e2e.faulty_world import SPOKEN, Reader, World
from fakes.eventually import eventually
from tieline.client.errors import TielineError

RECOVERY_TIMEOUT_S = 60.0

Note = Callable[[str, float], None]
"""Notes a name and a value with the test's result."""


@dataclass
class Scene:
    """Some groups in which somebody writes, and devices of others that read along."""

    world: World
    writer: str
    groups: list[str]
    readers: list[Reader]
    timeout_s: float = RECOVERY_TIMEOUT_S

    async def goes_on(self) -> None:
        """Return once much more is acknowledged than was before."""
        count = self.world.ledger.count
        await eventually(lambda: self.world.ledger.count > count + 30, timeout_s=RECOVERY_TIMEOUT_S)

    async def recover(self) -> float:
        """Return after how many seconds each group has news, acknowledged and with every device."""
        began = monotonic()
        numbers = self.world.ledger.numbers
        counts = {group: len(numbers[group]) for group in self.groups}

        def is_whole() -> bool:
            return all(
                len(numbers[group]) > count
                # The first one acknowledged since.
                and all(
                    _last(reader, group) >= list(numbers[group].values())[count]
                    for reader in self.readers
                )
                for group, count in counts.items()
            )

        await eventually(is_whole, timeout_s=self.timeout_s)
        return monotonic() - began

    async def settled(self, group: str) -> list[tuple[int, str]]:
        """Return what is stored of a group once every device has as much.

        Read again and again: what was under way when the writers ended is stored a little later.
        """
        stored: list[tuple[int, str]] = []

        async def everybody_has_it() -> bool:
            try:
                stored[:] = await self.world.stored(self.writer, group)
            except TielineError as error:
                # A replica finds only by using it which of its connections did not outlive a fault.
                if error.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False
            return all(len(reader.seen[group]) == len(stored) for reader in self.readers)

        await eventually(everybody_has_it, timeout_s=self.timeout_s)
        return stored

    async def check(self) -> None:
        """Compare what is stored, what was acknowledged, and what every device has."""
        for group in self.groups:
            stored = await self.settled(group)
            assert [reader.seen[group] for reader in self.readers] == [stored] * len(self.readers)
            assert [number for number, _ in stored] == list(range(1, len(stored) + 1))
            places = {message_id: number for number, message_id in stored}
            assert len(places) == len(stored)
            spoken = [message_id for _, message_id in stored if message_id.startswith(SPOKEN)]
            assert spoken == sorted(spoken)
            acknowledged = self.world.ledger.numbers[group]
            assert acknowledged == {each: places.get(each) for each in acknowledged}


def _last(reader: Reader, group: str) -> int:
    """Return the number of the newest message that a device has."""
    return reader.seen[group][-1][0] if reader.seen[group] else 0


async def set_the_scene(world: World, name: str, *, devices: int = 2) -> Scene:
    """Make three groups of a writer and a reader with some devices, named after the scene."""
    await eventually(world.neighbours_are_there)
    writer = f"{name}.writer"
    groups = [await world.open_group(writer, f"{name}.reader") for _ in range(3)]
    readers = [Reader(world.person(f"{name}.reader", number)) for number in range(devices)]
    return Scene(world, writer, groups, readers)
