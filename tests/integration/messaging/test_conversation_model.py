"""Random acts of people on several devices against a model of what each ends up with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import Corp
from integration.messaging.conversation_model import OWNER, PEOPLE, Chat, Model, acts
from integration.messaging.devices import Device, all_switched_on
from integration.messaging.groups import Groups
from tieline.client import Endpoints, Tieline, connect

# Owners of devices: who has two of them reads on both.
DEVICES = (OWNER, "ann", "ann", "ben", "ben", "cem")

steps = st.one_of(
    *[st.tuples(st.integers(0, 1), acts)] * 4,
    # Which device loses its connection or comes back.
    st.integers(0, len(DEVICES) - 1),
)


@pytest.fixture(scope="session")
async def connections(replica_targets: list[str]) -> AsyncIterator[list[Tieline]]:
    """The client library, connected to each replica."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(connect(Endpoints.single(target)))
            for target in replica_targets
        ]


@pytest.mark.timeout(180)
@settings(
    max_examples=12,
    deadline=None,
    # Without shrinking: an example that fails waits for seconds, and so would a hundred of them.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(script=st.lists(steps, min_size=20, max_size=40))
async def test_every_device_ends_up_with_what_the_model_says(
    script: list[int | tuple[int, tuple[str, str, int, str]]],
    new_corp: Callable[[], Corp],
    replica_channels: list[grpc.aio.Channel],
    groups: Groups,
    connections: list[Tieline],
    tokens: TestTokens,
) -> None:
    corp = new_corp()
    ids = [await corp.member(OWNER).create_group(*PEOPLE) for _ in range(2)]
    chats = [Chat(corp, group, replica_channels, groups) for group in ids]
    models = [Model() for _ in ids]
    devices = [Device(connections, tokens.member(corp.corp_id, owner)) for owner in DEVICES]
    async with all_switched_on(devices):
        for step in script:
            if isinstance(step, int):
                await devices[step].toggle()
            else:
                which, act = step
                assert await chats[which].apply(*act) == models[which].apply(*act), act

        by_id = dict(zip(ids, models, strict=True))
        for owner, device in zip(DEVICES, devices, strict=True):
            await device.catch_up()
            await eventually(lambda d=device, o=owner: is_up_to_date(d, o, by_id))

    for owner, device in zip(DEVICES, devices, strict=True):
        for group, model in by_id.items():
            assert shown(device, group, model.visible_from.get(owner)) == model.seen_by(owner)
    for who in (OWNER, *PEOPLE):
        for chat, model in zip(chats, models, strict=True):
            assert await chat.seen_by(who) == model.seen_by(who)
            unread = model.count_unread(who) if who in model.visible_from else None
            assert await chat.count_unread(who) == unread


def is_up_to_date(device: Device, owner: str, models: Mapping[str, Model]) -> bool:
    """Tell whether a device has the newest of what its owner is in, and nothing of the rest."""
    return all(
        (device.last_number(group) or 0) == (len(model.log) if owner in model.visible_from else 0)
        # What came later than all that is in it has nothing to show.
        or model.seen_by(owner) == []
        for group, model in models.items()
    )


def shown(device: Device, group: str, visible_from: int | None) -> Sequence[object] | None:
    """Return what a device shows of what may be seen now; None for nothing at all."""
    if visible_from is None:
        return list(device.shown[group].values()) if group in device.shown else None
    entries = device.shown.get(group, {})
    # What somebody saw before leaving and coming back to a hidden past stays on the device.
    return [entry for number, entry in sorted(entries.items()) if number > visible_from]


async def test_acts_at_the_same_time_leave_everybody_with_the_same(
    new_corp: Callable[[], Corp], replica_channels: list[grpc.aio.Channel], groups: Groups
) -> None:
    corp = new_corp()
    group = await corp.member(OWNER).create_group(*PEOPLE)
    chat = Chat(corp, group, replica_channels, groups)
    for number in range(4):
        await chat.apply("send", (OWNER, *PEOPLE)[number], number, "yes")
    at_once: list[Awaitable[bool]] = [
        chat.apply(act, who, number, said)
        for number in range(1, 5)
        for who in (OWNER, *PEOPLE)
        for act, said in (("edit", "no"), ("react", "yes"), ("recall", ""), ("send", "no"))
    ]

    await asyncio.gather(*at_once)

    seen = [await chat.seen_by(who) for who in (OWNER, *PEOPLE)]
    assert seen[0] is not None
    assert seen == [seen[0]] * 4
    assert [entry[0] for entry in seen[0]] == list(range(1, len(seen[0]) + 1))
    assert [entry[2] for entry in seen[0][:4]] == ["recalled"] * 4
