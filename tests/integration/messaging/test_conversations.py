import asyncio
from collections.abc import Callable

import grpc
import pytest

from fakes.members import FakeMembers
from integration.messaging.chat import Corp, new_id
from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2

DIRECT = messaging_pb2.CONVERSATION_KIND_DIRECT
GROUP = messaging_pb2.CONVERSATION_KIND_GROUP


async def test_new_group_has_its_name_and_its_people(corp: Corp) -> None:
    li_wei = corp.member("li.wei")

    group = await li_wei.create(GROUP, ["Zhang.San", "wang.wu", "li.wei"], name="Team 一")

    assert (group.kind, group.name, group.participant_count) == (GROUP, "Team 一", 3)
    assert group.last_activity_time == group.create_time
    seen = await corp.member("zhang.san").get(group.conversation_id)
    assert seen.role == conversation_note_pb2.PARTICIPANT_ROLE_MEMBER
    assert group.role == conversation_note_pb2.PARTICIPANT_ROLE_OWNER
    # What the reader has of it is the reader's own.
    seen.role = group.role
    seen.ClearField("overview")
    assert seen == group
    participants = (await li_wei.list_participants(group.conversation_id)).participants
    assert [each.id for each in participants] == ["li.wei", "wang.wu", "zhang.san"]


async def test_two_people_have_one_direct_conversation(corp: Corp) -> None:
    first = await corp.member("li.wei").create(DIRECT, ["zhang.san"])

    again = await corp.member("zhang.san").create(DIRECT, ["Li.Wei"])

    assert again == first
    assert first.participant_count == 2


async def test_two_people_who_begin_at_the_same_moment_get_one_conversation(corp: Corp) -> None:
    here, there = corp.member("li.wei"), corp.member("zhang.san", replica=1)

    ids = await asyncio.gather(
        *(here.create_direct("zhang.san") for _ in range(8)),
        *(there.create_direct("li.wei") for _ in range(8)),
    )

    assert len(set(ids)) == 1
    assert len((await here.list_conversations()).conversations) == 1


async def test_repeated_request_makes_one_group(corp: Corp) -> None:
    request_id = new_id()
    here, there = (corp.member("li.wei", replica=replica) for replica in (0, 1))

    ids = await asyncio.gather(
        *(
            person.create_group("zhang.san", request_id=request_id)
            for _ in range(5)
            for person in (here, there)
        )
    )

    assert len(set(ids)) == 1


async def test_request_id_with_other_contents_is_refused(corp: Corp) -> None:
    request_id = new_id()
    li_wei = corp.member("li.wei")
    await li_wei.create_group("zhang.san", request_id=request_id)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await li_wei.create_group("wang.wu", request_id=request_id)

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "REQUEST_ID_REUSED" in str(caught.value.trailing_metadata())


async def test_people_who_are_not_in_the_corp_are_refused_by_name(
    corp: Corp, members: FakeMembers
) -> None:
    members.missing.add((corp.corp_id, "gone"))
    li_wei = corp.member("li.wei")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await li_wei.create_group("zhang.san", "gone")

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "USER_NOT_FOUND" in str(caught.value.trailing_metadata())
    assert "gone" in str(caught.value.trailing_metadata())
    assert not (await li_wei.list_conversations()).conversations


async def test_repeat_gets_the_first_response_after_somebody_has_left_the_corp(
    corp: Corp, members: FakeMembers
) -> None:
    request_id = new_id()
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san", request_id=request_id)
    members.missing.add((corp.corp_id, "zhang.san"))

    assert await li_wei.create_group("zhang.san", request_id=request_id) == group


async def test_repeat_gets_the_first_response_while_the_directory_is_away(
    corp: Corp, members: FakeMembers
) -> None:
    request_id = new_id()
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san", request_id=request_id)
    members.away_corp_ids.add(corp.corp_id)

    assert await li_wei.create_group("zhang.san", request_id=request_id) == group


async def test_nothing_is_made_while_the_directory_is_away_and_the_request_is_good_later(
    corp: Corp, members: FakeMembers
) -> None:
    request_id = new_id()
    li_wei = corp.member("li.wei")
    members.away_corp_ids.add(corp.corp_id)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await li_wei.create_group("zhang.san", request_id=request_id)
    members.away_corp_ids.remove(corp.corp_id)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await li_wei.create_group("zhang.san", request_id=request_id)
    assert len((await li_wei.list_conversations()).conversations) == 1


async def test_wrong_request_names_every_field(corp: Corp) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await corp.member("li.wei").create(GROUP, ["no spaces"], name="")

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "name" in str(caught.value.details())
    assert "user_ids[0]" in str(caught.value.details())


async def test_group_of_two_thousand_is_made_and_listed_by_pages(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group(*(f"user{n:04}" for n in range(1999)))

    ids: list[str] = []
    page = await li_wei.list_participants(group, page_size=1000)
    ids += [each.id for each in page.participants]
    page = await li_wei.list_participants(group, page_size=1000, page_token=page.next_page_token)
    ids += [each.id for each in page.participants]

    assert page.next_page_token == ""
    assert ids == ["li.wei", *(f"user{n:04}" for n in range(1999))]


async def test_conversations_come_with_the_latest_activity_first_page_by_page(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    groups = [await li_wei.create_group("zhang.san", name=f"Group {n}") for n in range(5)]
    await li_wei.send(groups[1])

    listed = []
    token = ""
    while True:
        page = await li_wei.list_conversations(page_size=2, page_token=token)
        assert len(page.conversations) <= 2
        listed += [each.conversation_id for each in page.conversations]
        token = page.next_page_token
        if not token:
            break

    assert listed == [groups[1], groups[4], groups[3], groups[2], groups[0]]


async def test_listed_conversation_is_as_it_is_got(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    message = await li_wei.send(group)

    [listed] = (await li_wei.list_conversations()).conversations

    assert listed == await li_wei.get(group)
    assert (listed.last_sequence, listed.participant_count) == (1, 2)
    assert listed.last_activity_time == message.create_time


async def test_page_token_of_another_query_is_refused(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    one, other = [await li_wei.create_group("zhang.san", "wang.wu") for _ in range(2)]
    page = await li_wei.list_participants(one, page_size=1)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await li_wei.list_participants(other, page_size=1, page_token=page.next_page_token)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_nobody_else_sees_a_conversation(corp: Corp, new_corp: Callable[[], Corp]) -> None:
    group = await corp.member("li.wei").create_group("zhang.san")
    others = [corp.member("stranger"), new_corp().member("li.wei"), corp.customer("wmstranger")]

    for person in others:
        assert not (await person.list_conversations()).conversations
        for look in (person.get, person.list_messages, person.list_participants):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await look(group)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_customers_open_no_conversations(corp: Corp) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await corp.customer("wmsomebody").create_group("zhang.san")

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
