"""A network that stands still for half a minute loses nothing and repeats nothing.

So long that calls, statements and pings of every kind have given up, each at its own time.
"""

import asyncio
from time import monotonic

import grpc
import pytest

from e2e.faulty_scene import Note, set_the_scene
from e2e.faulty_world import World, far_from, faulty_world, reading
from fakes.eventually import eventually
from fakes.tokens import TestTokens

PAUSE_S = 30.0

# A second or two where nothing else runs. At worst a comparison with the database, each 15 s, and
# the longest waits between attempts.
RECOVERY_BOUND_S = 30.0

# Between one message and the next: half a minute of them is still read in a moment.
PACE_S = 0.2


async def _pause(world: World, link: str) -> float:
    """Stop the link of a replica of its own; return how many seconds its users needed then."""
    async with far_from(world, link) as (far, links):
        far.pause_s = PACE_S
        scene = await set_the_scene(far, link)
        async with reading(scene.readers):
            async with far.talking(scene.writer, *scene.groups):
                await scene.goes_on()
                links[link].pause()
                began = monotonic()
                await eventually(lambda: monotonic() - began > PAUSE_S, timeout_s=2 * PAUSE_S)
                links[link].go_on()
                seconds = await scene.recover()

            await scene.check()
    codes = {error.code for error in far.ledger.refusals}
    assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}, link
    # NATS alone is not needed to store a message.
    assert codes or link == "nats", link
    return seconds


@pytest.mark.timeout(240)
async def test_a_pause_of_half_a_minute_of_any_link_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    tokens: TestTokens,
    note: Note,
) -> None:
    """Each link is that of another replica, so that all of them wait at the same time."""
    links = ("postgres", "nats", "clients")
    async with faulty_world(tmp_path_factory.mktemp("pauses"), tokens) as world:
        seconds = dict(
            zip(links, await asyncio.gather(*(_pause(world, link) for link in links)), strict=True)
        )

    for link, each in seconds.items():
        note(f"recovery_s.{link}", each)
        assert each < RECOVERY_BOUND_S, seconds
