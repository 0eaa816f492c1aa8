"""Who is shown as looking at a conversation, where the times of a look and a removal cross."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from nats.aio.msg import Msg

from tieline.api.messaging.v1 import live_signal_pb2
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.looks import LOOK_S, Looks
from tieline.messaging.live.subscriber import Subscriber

CONVERSATION = "conversation"
KEY = ("ww1", CONVERSATION)


class Subscription:
    """What is subscribed, until it ends."""

    async def unsubscribe(self) -> None:
        """End it."""


@dataclass
class Scene:
    """Looks of one replica whose feeds reach those who are ``inside``; what it told."""

    inside: set[Subscriber] = field(default_factory=set)
    told: list[bool] = field(default_factory=list)
    now: float = 1000.0
    looks: Looks = field(init=False)

    def __post_init__(self) -> None:
        broker: Any = self
        self.looks = Looks(broker, lambda subscriber, key: subscriber in self.inside)

    async def subscribe(
        self, subject: str, *, cb: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """As the broker does, for nobody."""
        return Subscription()

    async def publish(self, subject: str, payload: bytes) -> None:
        """Note whether somebody is said to look."""
        signal = live_signal_pb2.LookSignal.FromString(payload)
        self.told.append(signal.update.presence.looking)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene()
    monkeypatch.setattr("tieline.messaging.live.looks.monotonic", lambda: scene.now)
    return scene


@pytest.fixture
def li_wei() -> Subscriber:
    return Subscriber(("ww1", member("li.wei")))


async def test_look_of_who_was_taken_out_before_it_came_ends_within_seconds(
    scene: Scene, li_wei: Subscriber
) -> None:
    await scene.looks.end_at(KEY, li_wei.user)
    await scene.looks.look(li_wei, CONVERSATION)
    scene.now += 6
    await scene.looks.end_old()

    assert scene.told == [True, False]


async def test_look_of_who_has_just_come_in_waits_until_the_replica_has_heard_of_it(
    scene: Scene, li_wei: Subscriber
) -> None:
    await scene.looks.look(li_wei, CONVERSATION)
    scene.now += 1
    await scene.looks.end_old()
    scene.inside.add(li_wei)
    scene.now += 6
    await scene.looks.end_old()

    assert scene.told == [True]


async def test_look_that_is_not_repeated_ends(scene: Scene, li_wei: Subscriber) -> None:
    scene.inside.add(li_wei)
    await scene.looks.look(li_wei, CONVERSATION)
    scene.now += LOOK_S + 1
    await scene.looks.end_old()

    assert scene.told == [True, False]
