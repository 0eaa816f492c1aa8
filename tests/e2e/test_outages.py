"""Whatever dies under a serving messaging service: what was acknowledged is there, once, in order.

All of it with live messages that come three times, two of them late. How long each takes to be
whole again is noted with the test's result, and measured by ``make bench NAME=messaging.recovery``.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from time import monotonic

import grpc
import pytest

from e2e.faulty_scene import RECOVERY_TIMEOUT_S, Note, Scene, set_the_scene
from e2e.faulty_world import SPOKEN, Reader, World, beside, faulty_world, reading
from fakes.eventually import eventually
from fakes.tokens import TestTokens

# A long one proves no more than this: the probes have failed, and reconnects reached their longest
# wait of 2 s.
OUTAGE_S = 5.0

# Longer than a call waits, so that what it asked for is done behind its back: that is what a pause
# adds to an outage. What is longer ends connections, as an outage does.
PAUSE_S = 4.0

# Devices that come at once, of so many people.
CROWD = 1000
_PEOPLE = 100

# From one replica to another: a wait of the feed, and a call that had gone to the old one.
MOVE_BOUND_S = 15.0

# On a machine that does other things as well.
CROWD_TIMEOUT_S = 150.0

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
async def world(
    tmp_path_factory: pytest.TempPathFactory, tokens: TestTokens
) -> AsyncIterator[World]:
    async with faulty_world(tmp_path_factory.mktemp("faults"), tokens) as world:
        yield world


@pytest.mark.parametrize(
    ("name", "reason"),
    [("postgres", "DATABASE_UNAVAILABLE"), ("nats", "BROKER_UNAVAILABLE")],
)
async def test_an_engine_that_is_killed_refuses_clearly_and_loses_nothing(
    world: World, name: str, reason: str, note: Note
) -> None:
    engine = world.postgres if name == "postgres" else world.nats
    scene = await set_the_scene(world, name)
    world.ledger.refusals.clear()
    async with reading(scene.readers):
        async with world.talking(scene.writer, *scene.groups):
            await scene.goes_on()

            await asyncio.to_thread(engine.kill)
            began = monotonic()
            await eventually(world.replica.is_not_ready)
            await eventually(lambda: monotonic() - began > OUTAGE_S)
            engine.start()
            note("recovery_s", await scene.recover())
            await eventually(world.replica.is_ready, timeout_s=RECOVERY_TIMEOUT_S)
            await scene.goes_on()

        await scene.check()
    # The calls that were under way, one a conversation, may have met the broken connection; the
    # library's own repeats of a call end with its time.
    refusals = [
        error
        for error in world.ledger.refusals[len(scene.groups) :]
        if error.code is not grpc.StatusCode.DEADLINE_EXCEEDED
    ]
    refused = {(error.code, error.reason) for error in refusals}
    assert refused == {(grpc.StatusCode.UNAVAILABLE, reason)}
    assert all(error.retry_after_s for error in refusals)


async def test_a_network_that_pauses_loses_nothing_and_repeats_nothing(
    world: World, note: Note
) -> None:
    """PostgreSQL stands still with all its connections open, and goes on where it was."""
    scene = await set_the_scene(world, "pause")
    world.ledger.refusals.clear()
    async with reading(scene.readers):
        async with world.talking(scene.writer, *scene.groups):
            await scene.goes_on()

            processes = world.postgres_processes()
            for process in processes:
                process.send_signal(signal.SIGSTOP)
            try:
                began = monotonic()
                await eventually(lambda: monotonic() - began > PAUSE_S)
            finally:
                for process in reversed(processes):
                    process.send_signal(signal.SIGCONT)
            note("recovery_s", await scene.recover())

        await scene.check()
    # What they asked for was done nevertheless, or is done by the repeat: nobody can tell.
    codes = {error.code for error in world.ledger.refusals}
    assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
    assert codes


async def _gather_a_crowd(world: World) -> Scene:
    """A group that is told something now and then, with many devices of many people."""
    people = [f"crowd{number}" for number in range(_PEOPLE)]
    group = await world.open_group("crowd.writer", *people)
    devices = [world.person(people[number % _PEOPLE], number) for number in range(CROWD)]
    readers = [Reader(device, group) for device in devices]
    return Scene(world, "crowd.writer", [group], readers, CROWD_TIMEOUT_S)


async def test_a_killed_replica_leaves_its_clients_to_the_other_one(
    world: World, note: Note
) -> None:
    async with beside(world) as both:
        # So many that some are at either.
        scene = await set_the_scene(both, "other", devices=8)
        async with reading(scene.readers):
            async with both.talking(scene.writer, *scene.groups):
                await scene.goes_on()

                both.replica.kill()
                seconds = await scene.recover()

            await scene.check()
    note("recovery_s", seconds)
    # Nobody waits until it is back.
    assert seconds < MOVE_BOUND_S


@pytest.mark.timeout(600)
async def test_a_killed_replica_is_found_again_by_a_crowd_at_once(world: World, note: Note) -> None:
    scene = await set_the_scene(world, "replica")
    crowd = await _gather_a_crowd(world)
    [group] = crowd.groups
    async with reading([*scene.readers, *crowd.readers]):
        await world.say(crowd.writer, group, f"{SPOKEN}1")
        await crowd.settled(group)
        async with world.talking(scene.writer, *scene.groups):
            await scene.goes_on()

            world.replica.kill()
            saying = asyncio.create_task(world.say(crowd.writer, group, f"{SPOKEN}2"))
            world.replica.start()
            began = monotonic()
            await saying
            await scene.goes_on()

        await crowd.settled(group)
        note("recovery_s", monotonic() - began)
        # Live again, by the subscriptions that were made at once.
        await world.say(crowd.writer, group, f"{SPOKEN}3")
        await crowd.check()
        await scene.check()
