"""Words of a corp, from the officer's call to every replica's next message."""

import asyncio
from collections.abc import Callable

import grpc
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from integration.messaging.groups import Groups, refused
from tieline.api.messaging.v1 import (
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_requests_pb2,
    sensitive_word_service_pb2_grpc,
)
from tieline.api.messaging.v1 import sensitive_word_service_pb2 as words_pb2
from tieline.chassis.postgres import Pool
from tieline.chassis.requests import ask
from tieline.client.errors import TielineError
from tieline.messaging.compliance.sensitive_words import MAX_WORDS
from tieline.messaging.contents.rules import MAX_CONTENT_BYTES

BLOCK = words_pb2.SENSITIVE_WORD_ACTION_BLOCK
FLAG = words_pb2.SENSITIVE_WORD_ACTION_FLAG

LATEST_S = 2.0


class Officer:
    """Somebody who may set and see words."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._stub = sensitive_word_service_pb2_grpc.SensitiveWordServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def update(
        self,
        words: dict[str, words_pb2.SensitiveWordAction.ValueType],
        *,
        removed: tuple[str, ...] = (),
    ) -> words_pb2.UpdateSensitiveWordsResponse:
        return await self._stub.UpdateSensitiveWords(
            words_pb2.UpdateSensitiveWordsRequest(
                words=[
                    words_pb2.SensitiveWord(word=word, action=action)
                    for word, action in words.items()
                ],
                removed_words=removed,
            ),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )

    async def list_words(self, *, page_size: int = 0) -> dict[str, int]:
        found: dict[str, int] = {}
        token = ""
        while True:
            response = await self._stub.ListSensitiveWords(
                words_pb2.ListSensitiveWordsRequest(page_size=page_size, page_token=token),
                metadata=self._metadata,
                timeout=TIMEOUT_S,
            )
            found |= {each.word: each.action for each in response.words}
            token = response.next_page_token
            if not token:
                return found

    async def flagged(self, *, page_size: int = 0) -> list[words_pb2.FlaggedMessage]:
        found: list[words_pb2.FlaggedMessage] = []
        token = ""
        while True:
            response = await self._stub.ListFlaggedMessages(
                words_pb2.ListFlaggedMessagesRequest(page_size=page_size, page_token=token),
                metadata=self._metadata,
                timeout=TIMEOUT_S,
            )
            found += response.messages
            token = response.next_page_token
            if not token:
                return found


@pytest.fixture
def officer(
    replica_channels: list[grpc.aio.Channel], tokens: TestTokens
) -> Callable[[Corp], Officer]:
    return lambda corp: Officer(replica_channels[0], tokens.administrator(corp.corp_id))


async def is_blocked(person: Person, group: str, said: str) -> bool:
    try:
        await person.send(group, said)
    except grpc.aio.AioRpcError as error:
        return TielineError.from_rpc_error(error).reason == "SENSITIVE_WORD"
    return False


async def test_blocked_word_is_refused_in_names_and_notices_of_groups(
    corp: Corp, officer: Callable[[Corp], Officer], groups: Groups
) -> None:
    owner = corp.member("li.wei")
    request_id = new_id()
    group = await owner.create_group("zhang.san", name="Lottery", request_id=request_id)
    await officer(corp).update({"lottery": BLOCK, "raffle": FLAG})

    async def is_known() -> bool:
        return await is_blocked(owner, group, "a lottery")

    await eventually(is_known)
    before = await owner.get(group)

    await refused(owner.create_group("zhang.san", name="Lottery"), "SENSITIVE_WORD")
    await refused(groups.change(owner, group, name="Our lottery"), "SENSITIVE_WORD")
    await refused(groups.change(owner, group, notice="Lot tery at 5"), "SENSITIVE_WORD")
    assert await owner.get(group) == before
    assert len((await owner.list_conversations()).conversations) == 1
    # The same request has its first answer; what else changes is no matter of words.
    assert await owner.create_group("zhang.san", name="Lottery", request_id=request_id) == group
    await groups.change(owner, group, muted=True)
    await groups.change(owner, group, name="Raffle", notice="A raffle")


async def test_other_services_learn_whether_somebody_may_say_something(
    corp: Corp, officer: Callable[[Corp], Officer], payments_broker: Client
) -> None:
    """What is looked for afterwards is no reason, and who is not there learns of no words."""
    owner = corp.member("li.wei")
    group = await owner.create_group("zhang.san")
    await officer(corp).update({"lottery": BLOCK, "raffle": FLAG})

    async def is_blocked_for(person: Person, said: str) -> bool:
        request = messaging_requests_pb2.CheckParticipantRequest(
            corp_id=corp.corp_id, conversation_id=group, participant=person.ref, text=said
        )
        response_type = messaging_requests_pb2.CheckParticipantResponse
        answer = await ask(
            payments_broker, "messaging", "check_participant", request, response_type
        )
        assert answer.participating == (person is owner)
        return answer.text_blocked

    await eventually(lambda: is_blocked_for(owner, "Lot tery"))

    assert not await is_blocked_for(owner, "raffle")
    assert not await is_blocked_for(owner, "")
    assert not await is_blocked_for(corp.member("stranger"), "lottery")


async def test_blocked_word_is_refused_as_a_reaction_and_one_of_before_can_be_taken_back(
    corp: Corp, officer: Callable[[Corp], Officer], replica_channels: list[grpc.aio.Channel]
) -> None:
    """Everybody in the conversation is shown reactions."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    sent = await li_wei.send(group, "fine")
    messages = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])

    async def react(reaction: str, *, removed: bool = False) -> None:
        request = message_service_pb2.SetReactionRequest(
            conversation_id=group, sequence=sent.sequence, reaction=reaction, removed=removed
        )
        await messages.SetReaction(request, metadata=li_wei.metadata, timeout=TIMEOUT_S)

    await react("lottery")
    await officer(corp).update({"lottery": BLOCK})
    await eventually(lambda: is_blocked(li_wei, group, "lottery"))

    await refused(react("Lottery"), "SENSITIVE_WORD")
    await react("👍")
    await react("lottery", removed=True)


async def test_blocked_word_is_refused_by_every_replica_within_two_seconds(
    corp: Corp, new_corp: Callable[[], Corp], officer: Callable[[Corp], Officer]
) -> None:
    people = [corp.member("li.wei", replica=replica) for replica in (0, 1)]
    group = await people[0].create_group("zhang.san")
    elsewhere = new_corp().member("li.wei")
    other_group = await elsewhere.create_group("zhang.san")
    await officer(corp).update({"赌博": BLOCK})

    async def all_refuse() -> bool:
        return all([await is_blocked(person, group, "网上赌 博") for person in people])

    await eventually(all_refuse, timeout_s=LATEST_S * 5)
    last = (await people[0].list_messages(group)).last_sequence
    assert all([await is_blocked(person, group, "赌博") for person in people])
    assert (await people[0].list_messages(group)).last_sequence == last
    assert not await is_blocked(elsewhere, other_group, "赌博")

    await officer(corp).update({}, removed=("赌博",))

    async def nobody_refuses() -> bool:
        return not any([await is_blocked(person, group, "赌博") for person in people])

    await eventually(nobody_refuses, timeout_s=LATEST_S * 5)


async def test_refused_message_fails_alone_and_a_repeat_of_an_older_one_is_recognised(
    corp: Corp, officer: Callable[[Corp], Officer]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    first = await li_wei.send(group, "very bad", client_message_id="m1")
    await officer(corp).update({"very bad": BLOCK})
    await eventually(lambda: is_blocked(li_wei, group, "very bad"))

    blocked, sent = await asyncio.gather(
        is_blocked(li_wei, group, "VERY BAD"), li_wei.send(group, "fine")
    )

    assert blocked
    assert sent.content.text.text == "fine"
    assert await li_wei.send(group, "very bad", client_message_id="m1") == first


async def test_flagged_message_is_delivered_and_listed(
    corp: Corp, new_corp: Callable[[], Corp], officer: Callable[[Corp], Officer]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await officer(corp).update({"odd": FLAG, "dubious": FLAG})

    async def is_flagged() -> bool:
        await li_wei.send(group, "odd and dubious")
        return bool(await officer(corp).flagged())

    await eventually(is_flagged)
    sent = [await li_wei.send(group, said) for said in ("odd", "fine", "dubious")]

    flagged = await officer(corp).flagged(page_size=1)

    assert [(each.sequence, list(each.words)) for each in flagged[:2]] == [
        (sent[2].sequence, ["dubious"]),
        (sent[0].sequence, ["odd"]),
    ]
    assert flagged[0].sender == li_wei.ref
    assert flagged[0].create_time == sent[2].create_time
    assert list(flagged[-1].words) == ["odd", "dubious"]
    assert await officer(new_corp()).flagged() == []


async def test_words_are_kept_as_they_are_compared_and_repeats_change_nothing(
    corp: Corp, officer: Callable[[Corp], Officer]
) -> None:
    desk = officer(corp)

    first = await desk.update({"ＢＡＤ": BLOCK, "b a d": FLAG, "赌 博": FLAG})
    again = await desk.update({"bad": FLAG, "赌博": FLAG}, removed=("unknown",))
    changed = await desk.update({"bad": BLOCK}, removed=("赌博",))

    assert (first.word_count, again.word_count, changed.word_count) == (2, 2, 1)
    assert (again.version, changed.version) == (first.version, first.version + 1)
    assert await desk.list_words() == {"bad": BLOCK}


async def test_ten_thousand_words_are_taken_and_no_more(
    corp: Corp, officer: Callable[[Corp], Officer], pool: Pool
) -> None:
    desk = officer(corp)
    await desk.update({f"word{number}": FLAG for number in range(MAX_WORDS)})

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await desk.update({"one more": FLAG})

    assert TielineError.from_rpc_error(raised.value).reason == "TOO_MANY_SENSITIVE_WORDS"
    assert len(await desk.list_words(page_size=1000)) == MAX_WORDS
    await desk.update({"one more": FLAG}, removed=("word0",))


@pytest.mark.parametrize("word", ["", " \u3000", "\u200b", "x" * 65, "a\0b"])
async def test_word_that_is_none_is_refused(
    corp: Corp, officer: Callable[[Corp], Officer], word: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await officer(corp).update({"fine": FLAG, word: BLOCK})

    assert TielineError.from_rpc_error(raised.value).reason == "INVALID_FIELD"
    assert await officer(corp).list_words() == {}


async def test_officers_at_once_lose_no_word(
    corp: Corp, officer: Callable[[Corp], Officer]
) -> None:
    desk = officer(corp)

    responses = await asyncio.gather(*(desk.update({f"word{n}": FLAG}) for n in range(8)))

    assert len(await desk.list_words()) == 8
    assert len({response.version for response in responses}) == 8


async def test_words_are_looked_for_in_edits_too(
    corp: Corp,
    officer: Callable[[Corp], Officer],
    replica_channels: list[grpc.aio.Channel],
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    sent = await li_wei.send(group, "fine")
    await officer(corp).update({"bad": BLOCK, "odd": FLAG})
    await eventually(lambda: is_blocked(li_wei, group, "bad"))
    messages = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])

    async def edit(said: str) -> None:
        await messages.EditMessage(
            message_service_pb2.EditMessageRequest(
                conversation_id=group, sequence=sent.sequence, content=text(said)
            ),
            metadata=li_wei.metadata,
            timeout=TIMEOUT_S,
        )

    for said, reason in (
        ("bad", "SENSITIVE_WORD"),
        # Its words are not looked for: that would keep the replica from all others.
        ("bad " * MAX_CONTENT_BYTES, "INVALID_FIELD"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await edit(said)
        assert TielineError.from_rpc_error(raised.value).reason == reason
    for _ in range(2):
        await edit("odd")

    [flagged] = await officer(corp).flagged()
    assert (flagged.sequence, list(flagged.words)) == (sent.sequence, ["odd"])
