"""What was said about messages goes with them, and stays with those that are held."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from integration.messaging.chat import TIMEOUT_S, Corp, Person, text
from integration.messaging.compliance import LATER, Desk, count
from integration.messaging.groups import refused
from integration.messaging.uploads import say
from tieline.api.messaging.v1 import (
    compliance_service_pb2,
    message_content_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
)
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.compliance.retention_upkeep import (
    apply_retention,
    forget_details,
    remove_released,
)
from tieline.messaging.messages.change_rules import MAX_PINS

CORP = compliance_service_pb2.LEGAL_HOLD_SCOPE_CORP
TABLES = ("reactions", "pins", "answer_choices", "flagged_messages")


@pytest.fixture
def call(replica_channels: list[grpc.aio.Channel]) -> Callable[..., Any]:
    """A method of MessageService, called by somebody about a conversation."""
    stub = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])

    async def call(person: Person, method: str, group: str, **fields: Any) -> Any:
        request = getattr(message_service_pb2, f"{method}Request")(
            corp_id=person.corp_id, conversation_id=group, **fields
        )
        metadata = person.metadata
        return await getattr(stub, method)(request, metadata=metadata, timeout=TIMEOUT_S)

    return call


def quiz() -> messaging_pb2.MessageContent:
    options = [message_content_pb2.QuizOption(key=key, text=key) for key in ("a", "b")]
    return messaging_pb2.MessageContent(
        quiz=message_content_pb2.QuizContent(question="Where?", options=options)
    )


async def detail(pool: Pool, call: Callable[..., Any], person: Person, group: str) -> None:
    """Send a quiz that has a row in each of the tables."""
    sequence = (await say(person, group, quiz())).sequence
    chosen = message_service_pb2.AnswerChoice(option_keys=["a"])
    await call(person, "AnswerMessage", group, sequence=sequence, choices=[chosen])
    await call(person, "SetReaction", group, sequence=sequence, reaction="👍")
    await call(person, "SetPin", group, sequence=sequence)
    async with transaction(pool) as connection:
        await connection.execute(
            """
            INSERT INTO messaging.flagged_messages
                   (corp_id, conversation_id, sequence, sender_kind, sender_id, words,
                    message_time)
            VALUES ($1, $2, $3, 'member', $4, '{secret}', now())
            """,
            person.corp_id,
            group,
            sequence,
            person.id,
        )


async def count_all(pool: Pool, group: str) -> dict[str, int]:
    return {table: await count(pool, table, group) for table in TABLES}


@pytest.mark.parametrize("table", TABLES)
async def test_rows_about_messages_that_are_gone_go_and_all_others_stay(
    corp: Corp,
    new_corp: Callable[[], Corp],
    officer: Callable[[Corp], Desk],
    call: Callable[..., Any],
    pool: Pool,
    table: str,
) -> None:
    li_wei, other = corp.member("li.wei"), new_corp().member("li.wei")
    group, pair = await li_wei.create_group("zhang.san"), await li_wei.create_direct("zhang.san")
    elsewhere = await other.create_group("zhang.san")
    for person, conversation in ((li_wei, group), (li_wei, pair), (other, elsewhere)):
        await detail(pool, call, person, conversation)
    await officer(corp).keep(90)
    await apply_retention(pool, at=LATER)
    await detail(pool, call, li_wei, group)

    for _ in range(2):
        await forget_details(pool)

    assert [await count(pool, table, each) for each in (group, pair, elsewhere)] == [1, 1, 1]


async def test_what_belongs_to_held_messages_goes_when_the_hold_is_released(
    corp: Corp, officer: Callable[[Corp], Desk], call: Callable[..., Any], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await detail(pool, call, li_wei, group)
    desk = officer(corp)
    hold = await desk.hold(CORP)
    await desk.keep(90)
    await apply_retention(pool, at=LATER)

    await forget_details(pool)
    assert await count_all(pool, group) == dict.fromkeys(TABLES, 1)

    await desk.release(hold.hold_id)
    await remove_released(pool)
    assert await count_all(pool, group) == dict.fromkeys(TABLES, 0)


async def test_pins_of_messages_that_are_gone_take_no_room_and_come_off(
    corp: Corp, officer: Callable[[Corp], Desk], call: Callable[..., Any], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    for _ in range(MAX_PINS):
        sequence = (await li_wei.send(group)).sequence
        await call(li_wei, "SetPin", group, sequence=sequence)
    await officer(corp).keep(90)
    await apply_retention(pool, at=LATER)

    new = (await say(li_wei, group, text("new"))).sequence
    await call(li_wei, "SetPin", group, sequence=new)
    await call(li_wei, "SetPin", group, sequence=1, removed=True)

    pins = (await call(li_wei, "ListPins", group)).messages
    assert [each.sequence for each in pins] == [new]
    assert await count(pool, "pins", group) == MAX_PINS
    for removed in (True, False):
        again = call(li_wei, "SetPin", group, sequence=1, removed=removed)
        await refused(again, "MESSAGE_NOT_FOUND")
