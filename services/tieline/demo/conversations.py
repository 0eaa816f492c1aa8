"""Act three: colleagues write to each other, one reads along live, another catches up later."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.client import MessageFeed, SignedIn, message_range
from tieline.demo import checks
from tieline.demo.checks import Line, Transcript
from tieline.demo.dialogues import Dialogue, take_dialogues
from tieline.demo.onboarding import Colleague, Corp
from tieline.demo.stage import PATIENCE_S, Stage, together, wait_until

SENDING_STEP = "messages sent and acknowledged"

GROUP_SIZE = 10

# Dialogues that go on in one conversation at the same time: people talk across each other.
VOICES = 3


@dataclass(frozen=True, slots=True)
class Circle:
    """A conversation and those who write in it."""

    conversation_id: str
    people: Sequence[Colleague]


async def talk(stage: Stage, corp: Corp, colleagues: Sequence[Colleague]) -> None:
    """Let everybody write, and compare what was sent, received live, caught up and stored."""
    circles = await _open_circles(stage, colleagues)
    reader, absent = colleagues[0], colleagues[1]
    # The reader writes on one device and reads along on another.
    second_device = await stage.tieline.sign_in_member(
        corp.corp_id, reader.user_id, reader.password
    )
    async with _reading_along(second_device) as live:
        sent = await _send_everything(stage, circles)
        stored = await _read_ranges(stage, circles)
        readers = _of(reader, circles, stored)
        with stage.journal.step("messages received live by a second client") as step:
            await _wait_for(live, _size(readers))
            step.count = len(live)
    absents = _of(absent, circles, stored)
    caught_up = await _catch_up(stage, absent, _size(absents))
    _promise_transcripts(stage, sent, stored)
    _promise_reader(stage, "live is what is stored", live, readers)
    _promise_reader(stage, "caught up is what is stored", caught_up, absents)


async def _open_circles(stage: Stage, colleagues: Sequence[Colleague]) -> list[Circle]:
    """Open a direct conversation for each pair, groups of ten, and one group of all."""
    pairs = list(zip(colleagues[::2], colleagues[1::2], strict=False))
    teams = [colleagues[i : i + GROUP_SIZE] for i in range(0, len(colleagues), GROUP_SIZE)]
    groups = [team for team in [*teams, colleagues] if len(team) > 1]
    with stage.journal.step("conversations opened") as step:
        circles = await together(
            itertools.chain(
                (_open_direct(pair) for pair in pairs),
                (_open_group(f"第{number}组", group) for number, group in enumerate(groups, 1)),
            )
        )
        step.count = len(circles)
    return circles


async def _open_direct(pair: tuple[Colleague, Colleague]) -> Circle:
    request = messaging_service_pb2.CreateConversationRequest(
        kind=messaging_pb2.CONVERSATION_KIND_DIRECT, user_ids=[pair[1].user_id]
    )
    return await _open(request, pair)


async def _open_group(name: str, people: Sequence[Colleague]) -> Circle:
    request = messaging_service_pb2.CreateConversationRequest(
        kind=messaging_pb2.CONVERSATION_KIND_GROUP,
        name=name,
        user_ids=[person.user_id for person in people[1:]],
    )
    return await _open(request, people)


async def _open(
    request: messaging_service_pb2.CreateConversationRequest, people: Sequence[Colleague]
) -> Circle:
    response = await people[0].me.messaging.CreateConversation(request)
    return Circle(response.conversation.conversation_id, people)


async def _send_everything(stage: Stage, circles: Sequence[Circle]) -> list[list[Line]]:
    """Have everything said; return each dialogue as it was acknowledged."""
    dialogues = take_dialogues(stage.material.dialogues, stage.scale.lines)
    stage.chance.shuffle(dialogues)
    with stage.journal.step(SENDING_STEP) as step:
        # One script a voice: each takes the next of its own when the last one has ended.
        voices = [circle for circle in circles for _ in range(VOICES)]
        scripts = [dialogues[i :: len(voices)] for i in range(len(voices))]
        spoken = await together(
            _speak(circle, script, stage) for circle, script in zip(voices, scripts, strict=True)
        )
        sent = [dialogue for dialogues in spoken for dialogue in dialogues]
        step.count = sum(len(dialogue) for dialogue in sent)
    return sent


async def _speak(circle: Circle, script: Sequence[Dialogue], stage: Stage) -> list[list[Line]]:
    spoken = []
    for dialogue in script:
        speakers = itertools.cycle(stage.chance.sample(list(circle.people), 2))
        spoken.append(
            [
                await send_text(speaker.me, circle.conversation_id, text)
                for speaker, text in zip(speakers, dialogue, strict=False)
            ]
        )
    return spoken


async def send_text(
    sender: SignedIn, conversation_id: str, text: str, *, corp_id: str = ""
) -> Line:
    """Send a text; return it as it was acknowledged, but with the sender's own id and words."""
    client_message_id = str(uuid.uuid4())
    response = await sender.messaging.SendMessage(
        messaging_service_pb2.SendMessageRequest(
            corp_id=corp_id,
            conversation_id=conversation_id,
            client_message_id=client_message_id,
            content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=text)),
        )
    )
    return Line(conversation_id, response.message.sequence, client_message_id, text)


async def read_lines(reader: SignedIn, conversation_id: str, *, corp_id: str = "") -> list[Line]:
    """Return a whole conversation as the server has it."""
    messages = message_range(reader.messaging, conversation_id, corp_id=corp_id)
    return [to_line(message) async for message in messages]


def to_line(message: messaging_pb2.Message) -> Line:
    """Return what the checks compare of a message."""
    return Line(
        message.conversation_id,
        message.sequence,
        message.client_message_id,
        message.content.text.text,
    )


async def _read_ranges(stage: Stage, circles: Sequence[Circle]) -> Transcript:
    with stage.journal.step("messages read back by range") as step:
        read = await together(
            read_lines(circle.people[0].me, circle.conversation_id) for circle in circles
        )
        step.count = sum(len(lines) for lines in read)
    return {circle.conversation_id: lines for circle, lines in zip(circles, read, strict=True)}


@asynccontextmanager
async def _reading_along(device: SignedIn) -> AsyncIterator[list[Line]]:
    """Collect what arrives on a device, from now on until the block ends."""
    received: list[Line] = []
    async with device.watch_messages() as feed:
        collecting = asyncio.create_task(_collect(feed, received))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await feed.wait_live()
            yield received
        finally:
            collecting.cancel()


async def _collect(feed: MessageFeed, received: list[Line]) -> None:
    async for message in feed:
        received.append(to_line(message))


async def _wait_for(received: Sequence[Line], expected_count: int) -> None:
    """Return once so many lines were received; whether they are the right ones is checked later."""

    async def has_all() -> bool:
        return len(received) >= expected_count

    await wait_until(f"{expected_count:,} messages had arrived", has_all)


async def _catch_up(stage: Stage, absent: Colleague, expected_count: int) -> list[Line]:
    """Have somebody who was away fetch everything."""
    with stage.journal.step("messages caught up by one who was away") as step:
        async with _reading_along(absent.me) as received:
            await _wait_for(received, expected_count)
        step.count = len(received)
    return received


def _of(person: Colleague, circles: Sequence[Circle], stored: Transcript) -> Transcript:
    """Return the conversations that a person is in, as they are stored."""
    return {
        circle.conversation_id: stored[circle.conversation_id]
        for circle in circles
        if person in circle.people
    }


def _size(transcript: Transcript) -> int:
    return sum(len(lines) for lines in transcript.values())


def _promise_transcripts(stage: Stage, sent: Sequence[Sequence[Line]], stored: Transcript) -> None:
    acknowledged = [line for dialogue in sent for line in dialogue]
    count = f"{len(acknowledged):,} messages"
    stage.promise("nothing is lost", checks.find_lost(acknowledged, stored), count)
    twice = checks.find_twice(stored)
    if not twice and _size(stored) != len(acknowledged):
        twice = f"{_size(stored):,} stored of {len(acknowledged):,} sent"
    stage.promise("nothing is there twice", twice, count)
    stage.promise(
        "numbers have no gaps", checks.find_gaps(stored), f"{len(stored)} conversations, from 1 on"
    )
    stage.promise("order is kept", checks.find_reordered(sent), f"{len(sent):,} dialogues")


def _promise_reader(
    stage: Stage, promise: str, received: Sequence[Line], stored: Transcript
) -> None:
    transcript = checks.by_conversation(received)
    wrong = checks.find_twice(transcript) or checks.find_differences(transcript, stored)
    stage.promise(promise, wrong, f"{len(received):,} messages, the same in the same order")
