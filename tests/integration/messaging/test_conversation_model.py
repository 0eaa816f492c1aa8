"""Random acts of people on several devices against a model of what each ends up with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import grpc
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import Corp
from integration.messaging.conversation_model import MAX_NUMBER, OWNER, PEOPLE, Chat, Model, acts
from integration.messaging.devices import Device, StateHolder, all_switched_on
from integration.messaging.groups import Groups
from tieline.client import Endpoints, Tieline, connect

# Owners of devices: who has two of them reads on both.
DEVICES = (OWNER, "ann", "ann", "ben", "ben", "cem")

steps = st.one_of(
    *[st.tuples(st.integers(0, 1), acts)] * 4,
    # Which device loses its connection or comes back.
    st.integers(0, len(DEVICES) - 1),
)


# Each act once at least where it is let do something, which random ones rarely are.
EVERYTHING: list[int | tuple[int, tuple[str, str, int, str]]] = [
    (0, ("send", "ann", 1, "yes")),
    (0, ("ask", OWNER, 1, "yes")),
    (0, ("react", "ben", 1, "yes")),
    (0, ("react", "ann", 1, "yes")),
    (0, ("unreact", "ben", 1, "yes")),
    (0, ("answer", "ann", 2, "yes")),
    (0, ("answer", "ben", 2, "yes")),
    (0, ("answer", "ben", 2, "no")),
    (0, ("pin", OWNER, 1, "yes")),
    (0, ("pin", OWNER, 2, "yes")),
    3,
    (0, ("draft", "ann", 1, "yes")),
    (0, ("draft", "ben", 1, "yes")),
    (0, ("read", "ben", 3, "yes")),
    1,
    (0, ("draft", "ben", 1, "no")),
    (0, ("remove", OWNER, 1, "yes")),  # ben
    (0, ("send", "ann", 1, "yes")),
    (0, ("hide", OWNER, 1, "yes")),
    (0, ("join", "ben", 1, "yes")),
    (0, ("join", "ben", 1, "yes")),
    (0, ("edit", "ann", 1, "no")),  # which ben does not see
    (0, ("transfer", OWNER, 3, "yes")),  # to ann
    (0, ("unpin", OWNER, 1, "yes")),
    (0, ("unpin", "ann", 1, "yes")),
    (0, ("recall", "ann", 2, "yes")),
    (0, ("leave", "ann", 1, "yes")),
    (0, ("dismiss", OWNER, 7, "yes")),
    (0, ("dismiss", "cem", 7, "yes")),
    (0, ("send", OWNER, 1, "yes")),
    (0, ("join", "ann", 1, "yes")),
    (0, ("read", "cem", 9, "yes")),
    *[(1, ("leave", who, 1, "yes")) for who in (OWNER, *PEOPLE)],
]


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
    max_examples=24,
    deadline=None,
    # Without shrinking: an example that fails waits for seconds, and so would a hundred of them.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(script=EVERYTHING)
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
    holders = {
        who: StateHolder(corp.member(who, replica=index % 2))
        for index, who in enumerate((OWNER, *PEOPLE))
    }
    for chat in chats:
        await chat.make_code()
    async with all_switched_on([*devices, *holders.values()]):
        for step in script:
            if isinstance(step, int):
                await devices[step].toggle()
                await holders[DEVICES[step]].reconnect()
            else:
                which, act = step
                assert await chats[which].apply(*act) == models[which].apply(*act), act

        by_id = dict(zip(ids, models, strict=True))
        for owner, device in zip(DEVICES, devices, strict=True):
            await device.catch_up()
            await eventually(lambda d=device, o=owner: is_up_to_date(d, o, by_id))
        for who, holder in holders.items():
            await eventually(lambda w=who, h=holder: holds_states(h, w, by_id))

    for owner, device in zip(DEVICES, devices, strict=True):
        for group, model in by_id.items():
            assert shown(device, group, model.visible_from.get(owner)) == model.seen_by(owner)
    for chat, model in zip(chats, models, strict=True):
        await check_answers(chat, model)


async def check_answers(chat: Chat, model: Model) -> None:
    """Compare what each person is answered; of a single message, what one of them is."""
    for who in (OWNER, *PEOPLE):
        assert await chat.seen_by(who) == model.seen_by(who)
        assert await chat.standing_of(who) == model.standing_of(who)
    people = sorted(model.visible_from)
    for number in range(1, MAX_NUMBER + 1) if people else ():
        who = people[number % len(people)]
        assert await chat.reactions_to(who, number) == model.reactions_to(who, number)
        assert await chat.answers_to(who, number) == model.answers_to(who, number)
    for who in people:
        assert await chat.pins_of(who) == model.pins_of(who)


def is_up_to_date(device: Device, owner: str, models: Mapping[str, Model]) -> bool:
    """Tell whether a device has the newest of what its owner is in, and nothing of the rest."""
    return all(
        (device.last_number(group) or 0) == (len(model.log) if owner in model.visible_from else 0)
        # What came later than all that is in it has nothing to show.
        or model.seen_by(owner) == []
        for group, model in models.items()
    )


def holds_states(holder: StateHolder, who: str, models: Mapping[str, Model]) -> bool:
    """Tell whether a device knows how its owner stands to what he or she is in."""
    standings = {group: model.standing_of(who) for group, model in models.items()}
    return all(
        standing is None or holder.find(group) == standing[1:]
        for group, standing in standings.items()
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
