import asyncio
from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from nats.aio.client import Client

from fakes.eventually import eventually
from fakes.members import FakeMembers
from fakes.tokens import TestTokens
from integration.messaging.chat import Corp, Person, new_id, publish
from integration.messaging.groups import MEMBER, OWNER, Groups, refused
from tieline.api.common.v1 import principal_pb2
from tieline.api.directory.v1 import directory_pb2
from tieline.api.messaging.v1 import (
    conversation_note_pb2,
    conversation_service_pb2,
    messaging_pb2,
)
from tieline.chassis.postgres import Pool, transaction


async def roles_of(person: Person, group: str) -> dict[str, int]:
    listed = await person.list_participants(group)
    return {
        ref.id: details.role
        for ref, details in zip(listed.participants, listed.details, strict=True)
    }


async def notes_of(person: Person, group: str) -> list[messaging_pb2.MessageContent]:
    listed = await person.list_messages(group)
    return [each.content for each in listed.messages if not each.content.HasField("text")]


async def test_who_makes_a_group_owns_it(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")

    assert await roles_of(li_wei, group) == {"li.wei": OWNER, "zhang.san": MEMBER}


async def test_added_people_are_in_the_group_and_the_note_says_who(
    corp: Corp, groups: Groups
) -> None:
    li_wei, newcomer = corp.member("li.wei"), corp.member("wang.wu", replica=1)
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "before")

    async with newcomer.subscribed() as inbox:
        assert await groups.add(corp.member("zhang.san"), group, "Wang.Wu", "li.wei") == ["wang.wu"]
        assert await groups.add(li_wei, group, "wang.wu") == []
        await eventually(lambda: inbox.joined)
        sent = await li_wei.send(group, "welcome")
        await eventually(lambda: sent in inbox.messages(group))

    [note] = await notes_of(newcomer, group)
    assert note.participants_note.change == conversation_note_pb2.PARTICIPANTS_CHANGE_ADDED
    assert [each.id for each in note.participants_note.participants] == ["wang.wu"]
    assert [each.sequence for each in (await newcomer.list_messages(group)).messages] == [1, 2, 3]


async def test_newcomers_see_nothing_of_before_where_the_group_says_so(
    corp: Corp, groups: Groups
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "among ourselves")
    await groups.change(li_wei, group, history_visible=False, paths=["history_visible"])

    await groups.add(li_wei, group, "wang.wu")

    listed = await corp.member("wang.wu").list_messages(group)
    assert [each.sequence for each in listed.messages] == [3]
    assert (await corp.member("wang.wu").get(group)).visible_from_sequence == 2
    assert len((await corp.member("zhang.san").list_messages(group)).messages) == 3


async def test_strangers_to_the_corp_are_added_to_no_group(
    corp: Corp, groups: Groups, members: FakeMembers
) -> None:
    members.missing.add((corp.corp_id, "gone"))
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")

    await refused(groups.add(li_wei, group, "wang.wu", "gone"), "USER_NOT_FOUND")
    await refused(groups.add(corp.member("stranger"), group, "wang.wu"), "CONVERSATION_NOT_FOUND")

    assert await notes_of(li_wei, group) == []


async def test_removed_member_gets_nothing_that_is_sent_afterwards(
    corp: Corp, groups_elsewhere: Groups
) -> None:
    """The remover at one replica, the removed one's feed and the sender at the other."""
    owner, sender = corp.member("li.wei", replica=1), corp.member("zhang.san")
    removed = corp.member("wang.wu")
    group = await owner.create_group("zhang.san", "wang.wu")
    other = await owner.create_group("wang.wu")

    async def keep_sending(until: asyncio.Event) -> None:
        while not until.is_set():
            await asyncio.gather(*(sender.send(group, "meanwhile") for _ in range(5)))

    is_removed = asyncio.Event()
    async with removed.subscribed() as inbox:
        sending = asyncio.create_task(keep_sending(is_removed))
        await eventually(lambda: len(inbox.messages(group)) > 20)
        await groups_elsewhere.remove(owner, group, "wang.wu")
        first_after = await sender.send(group, "after")
        is_removed.set()
        await sending
        last = await owner.send(other, "elsewhere")
        await eventually(lambda: last in inbox.messages(other))

    listed = (await sender.list_messages(group)).messages
    [note] = [each for each in listed if each.content.HasField("participants_note")]
    assert inbox.messages(group) == list(listed)[: note.sequence]
    assert note.sequence < first_after.sequence
    await refused(removed.list_messages(group), "CONVERSATION_NOT_FOUND")
    await refused(removed.send(group), "CONVERSATION_NOT_FOUND")


async def test_who_is_removed_and_added_again_and_again_misses_nothing_of_the_time_within(
    corp: Corp, groups: Groups, groups_elsewhere: Groups
) -> None:
    owner, reader = corp.member("li.wei"), corp.member("reader", replica=1)
    group = await owner.create_group("reader")

    async with reader.subscribed() as inbox:
        for turn in range(5):
            await (groups, groups_elsewhere)[turn % 2].remove(owner, group, "reader")
            await owner.send(group, "without")
            await (groups_elsewhere, groups)[turn % 2].add(owner, group, "reader")
        last = await owner.send(group, "with")
        await eventually(
            lambda: (
                last in inbox.messages(group)
                or any(joined.last_sequence >= last.sequence for joined in inbox.joined)
            )
        )

    said = [each.content.text.text for each in inbox.messages(group)]
    assert "without" not in said


async def test_owner_and_administrators_have_their_rights_and_no_more(
    corp: Corp, groups: Groups
) -> None:
    owner, admin, plain = (corp.member(name) for name in ("li.wei", "admin", "plain"))
    group = await owner.create_group("admin", "plain", "other")
    await groups.set_role(owner, group, "admin")
    await groups.set_role(owner, group, "admin")

    assert await groups.remove(admin, group, "other", "stranger") == ["other"]
    for call in (
        groups.remove(plain, group, "admin"),
        groups.remove(admin, group, "li.wei"),
        groups.set_role(admin, group, "plain"),
        groups.change(plain, group, name="Ours"),
        groups.call(admin, "TransferConversation", conversation_id=group, user_id="plain"),
        groups.call(admin, "DismissConversation", conversation_id=group),
        groups.set_role(owner, group, "li.wei", MEMBER),
    ):
        await refused(call, "ROLE_NOT_SUFFICIENT")
    await refused(groups.set_role(owner, group, "stranger"), "PARTICIPANT_NOT_FOUND")
    await groups.set_role(owner, group, "admin", MEMBER)

    assert await roles_of(owner, group) == {"li.wei": OWNER, "admin": MEMBER, "plain": MEMBER}
    kinds = [each.WhichOneof("kind") for each in await notes_of(owner, group)]
    assert kinds == ["roles_note", "participants_note", "roles_note"]


async def test_eleventh_administrator_is_one_too_many(corp: Corp, groups: Groups) -> None:
    owner = corp.member("li.wei")
    names = [f"user{n}" for n in range(11)]
    group = await owner.create_group(*names)
    for name in names[:10]:
        await groups.set_role(owner, group, name)

    await refused(groups.set_role(owner, group, names[10]), "LIMIT_REACHED")


async def test_owner_hands_the_group_over_and_two_cannot_own_it(
    corp: Corp, groups: Groups, groups_elsewhere: Groups
) -> None:
    owner = corp.member("li.wei")
    group = await owner.create_group("one", "two")

    outcomes = await asyncio.gather(
        *(
            at.call(owner, "TransferConversation", conversation_id=group, user_id=name)
            for at, name in ((groups, "one"), (groups_elsewhere, "two"))
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 1
    roles = await roles_of(owner, group)
    assert roles["li.wei"] == MEMBER
    assert sorted(roles.values()).count(OWNER) == 1


async def test_owner_who_leaves_is_followed_by_the_administrator_who_came_first(
    corp: Corp, groups: Groups
) -> None:
    owner = corp.member("li.wei")
    group = await owner.create_group("zz.admin", "aa.plain")
    await groups.set_role(owner, group, "zz.admin")

    await groups.call(owner, "LeaveConversation", conversation_id=group)
    assert await roles_of(corp.member("aa.plain"), group) == {"zz.admin": OWNER, "aa.plain": MEMBER}
    await groups.call(corp.member("zz.admin"), "LeaveConversation", conversation_id=group)
    assert await roles_of(corp.member("aa.plain"), group) == {"aa.plain": OWNER}
    await groups.call(corp.member("aa.plain"), "LeaveConversation", conversation_id=group)

    await refused(
        groups.call(owner, "LeaveConversation", conversation_id=group), "CONVERSATION_NOT_FOUND"
    )


async def test_settings_are_changed_told_and_hold_for_who_sends(corp: Corp, groups: Groups) -> None:
    owner, admin, plain = (corp.member(name) for name in ("li.wei", "admin", "plain"))
    group = await owner.create_group("admin", "plain")
    await groups.set_role(owner, group, "admin")

    changed = await groups.change(owner, group, name="Ours", notice="Be kind", muted=True)
    again = await groups.change(admin, group, name="Ours", notice="Be kind", muted=True)

    assert (changed.name, changed.settings.notice, changed.settings.muted) == (
        "Ours",
        "Be kind",
        True,
    )
    assert again.last_sequence == changed.last_sequence
    note = (await notes_of(plain, group))[-1].settings_note
    assert list(note.changed_fields) == ["name", "notice", "muted"]
    assert note.settings == changed.settings
    await refused(plain.send(group), "POSTING_NOT_ALLOWED")
    await admin.send(group)
    await groups.change(
        owner,
        group,
        paths=["muted", "posting", "adding"],
        posting=conversation_note_pb2.ALLOWED_OWNER,
        adding=conversation_note_pb2.ALLOWED_ADMINS,
    )
    await refused(admin.send(group), "POSTING_NOT_ALLOWED")
    await owner.send(group)
    await refused(groups.add(plain, group, "wang.wu"), "ROLE_NOT_SUFFICIENT")
    assert await groups.add(admin, group, "wang.wu") == ["wang.wu"]


@pytest.mark.parametrize(
    ("paths", "settings"),
    [
        pytest.param(["name"], {"name": ""}, id="no name"),
        pytest.param(["name"], {"name": "x" * 65}, id="long name"),
        pytest.param(["notice"], {"notice": "x" * 2049}, id="long notice"),
        pytest.param(["posting"], {}, id="nobody's posting"),
        pytest.param(
            ["adding"], {"adding": conversation_note_pb2.ALLOWED_OWNER}, id="adding by the owner"
        ),
        pytest.param(["notice_time"], {}, id="time of the notice"),
        pytest.param(["nothing"], {}, id="unknown field"),
    ],
)
async def test_wrong_settings_change_nothing(
    corp: Corp, groups: Groups, paths: list[str], settings: dict[str, object]
) -> None:
    owner = corp.member("li.wei")
    group = await owner.create_group("zhang.san")

    await refused(groups.change(owner, group, paths, **settings), "INVALID_FIELD")

    assert (await owner.get(group)).last_sequence == 0


async def test_dismissed_group_is_read_and_nothing_else(corp: Corp, groups: Groups) -> None:
    owner, plain = corp.member("li.wei"), corp.member("plain")
    group = await owner.create_group("plain")
    said = await plain.send(group, "hello", client_message_id="m1")
    for _ in range(2):
        await groups.call(owner, "DismissConversation", conversation_id=group)

    for call in (
        owner.send(group),
        groups.add(owner, group, "wang.wu"),
        groups.remove(owner, group, "plain"),
        groups.change(owner, group, name="Ours"),
        groups.call(owner, "CreateJoinCode", conversation_id=group, request_id=new_id()),
    ):
        await refused(call, "CONVERSATION_DISMISSED")
    assert await plain.send(group, "hello", client_message_id="m1") == said
    assert (await plain.list_messages(group)).last_sequence == 2
    assert (await plain.get(group)).HasField("dismiss_time")
    await groups.call(plain, "LeaveConversation", conversation_id=group)


async def test_direct_conversation_is_no_group(corp: Corp, groups: Groups) -> None:
    li_wei = corp.member("li.wei")
    direct = await li_wei.create_direct("zhang.san")

    await refused(groups.add(li_wei, direct, "wang.wu"), "WRONG_CONVERSATION_KIND")
    await refused(
        groups.call(li_wei, "LeaveConversation", conversation_id=direct), "WRONG_CONVERSATION_KIND"
    )


async def test_group_of_two_thousand_is_full(corp: Corp, groups: Groups) -> None:
    owner = corp.member("li.wei")
    group = await owner.create_group(*(f"user{n:04}" for n in range(1998)))

    outcomes = await asyncio.gather(
        groups.add(owner, group, "last"), groups.add(owner, group, "other"), return_exceptions=True
    )

    assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 1
    await refused(groups.add(owner, group, "one.more"), "CONVERSATION_FULL")
    assert (await owner.get(group)).participant_count == 2000


async def test_members_come_in_by_a_code_as_often_as_it_says(
    corp: Corp, groups: Groups, groups_elsewhere: Groups, new_corp: Callable[[], Corp]
) -> None:
    owner = corp.member("li.wei")
    group = await owner.create_group("zhang.san")
    request_id = new_id()
    codes = [
        await groups.call(
            owner, "CreateJoinCode", conversation_id=group, request_id=request_id, max_uses=3
        )
        for _ in range(2)
    ]
    code = codes[0].join_code.code
    people = [corp.member(f"user{n}") for n in range(6)]

    outcomes = await asyncio.gather(
        *(
            (groups, groups_elsewhere)[n % 2].call(person, "JoinConversation", code=code)
            for n, person in enumerate(people)
        ),
        return_exceptions=True,
    )

    assert codes[0] == codes[1]
    came = [person for person, each in zip(people, outcomes, strict=True) if _is_in(each)]
    assert len(came) == 3
    # Who is in it gets it again, although the code is used up.
    assert _is_in(await groups.call(came[0], "JoinConversation", code=code))
    assert (await owner.get(group)).participant_count == 5
    foreigner = new_corp().member("user0")
    await refused(groups.call(foreigner, "JoinConversation", code=code), "JOIN_CODE_NOT_FOUND")


def _is_in(outcome: object) -> bool:
    return not isinstance(outcome, BaseException) and outcome.HasField("conversation")  # type: ignore[attr-defined]


async def test_who_left_the_corp_a_moment_ago_comes_in_by_no_code(
    corp: Corp, groups: Groups, members: FakeMembers
) -> None:
    """A token outlives its member by seconds, in which nobody is taken out any more."""
    owner = corp.member("li.wei")
    group = await owner.create_group("zhang.san")
    made = await groups.call(
        owner, "CreateJoinCode", conversation_id=group, request_id=new_id(), max_uses=1
    )
    members.missing.add((corp.corp_id, "gone"))

    joining = groups.call(corp.member("gone"), "JoinConversation", code=made.join_code.code)
    await refused(joining, "USER_NOT_FOUND")

    assert (await owner.get(group)).participant_count == 2


async def test_code_ends_with_its_time_or_when_it_is_withdrawn(
    corp: Corp, groups: Groups, pool: Pool
) -> None:
    owner, guest = corp.member("li.wei"), corp.member("guest")
    group = await owner.create_group("zhang.san")
    made = [
        (
            await groups.call(
                corp.member("zhang.san"),
                "CreateJoinCode",
                conversation_id=group,
                request_id=new_id(),
                lifetime=Duration(seconds=60),
            )
        ).join_code
        for _ in range(2)
    ]
    assert {c.code for c in await _list_codes(groups, owner, group)} == {c.code for c in made}
    async with transaction(pool) as connection:
        await connection.execute(
            """
            UPDATE messaging.join_codes SET expire_time = now()
             WHERE corp_id = $1 AND code = $2
            """,
            corp.corp_id,
            made[0].code,
        )
    for _ in range(2):
        await groups.call(owner, "DeleteJoinCode", conversation_id=group, code=made[1].code)

    for code in (made[0].code, made[1].code, "x" * 16, "short", "a\0" * 8):
        await refused(groups.call(guest, "JoinConversation", code=code), "JOIN_CODE_NOT_FOUND")
    assert await _list_codes(groups, owner, group) == []
    await refused(
        groups.call(guest, "ListJoinCodes", conversation_id=group), "CONVERSATION_NOT_FOUND"
    )


async def _list_codes(
    groups: Groups, person: Person, group: str
) -> list[conversation_service_pb2.JoinCode]:
    response = await groups.call(person, "ListJoinCodes", conversation_id=group)
    return list(response.join_codes)


async def test_twenty_first_code_is_one_too_many(corp: Corp, groups: Groups) -> None:
    owner = corp.member("li.wei")
    group = await owner.create_group("zhang.san")
    for _ in range(20):
        await groups.call(owner, "CreateJoinCode", conversation_id=group, request_id=new_id())

    await refused(
        groups.call(owner, "CreateJoinCode", conversation_id=group, request_id=new_id()),
        "TOO_MANY_JOIN_CODES",
    )


async def test_who_asks_to_join_comes_in_once_an_administrator_agrees(
    corp: Corp, groups: Groups
) -> None:
    owner, guest, other = (corp.member(name) for name in ("li.wei", "guest", "other"))
    group = await owner.create_group("zhang.san")
    made = await groups.call(
        owner, "CreateJoinCode", conversation_id=group, request_id=new_id(), needs_approval=True
    )
    for person in (guest, guest, other):
        answer = await groups.call(person, "JoinConversation", code=made.join_code.code)
        assert not answer.HasField("conversation")

    asked = await groups.call(owner, "ListJoinRequests", conversation_id=group)
    assert [each.user_id for each in asked.join_requests] == ["guest", "other"]
    await refused(
        groups.call(corp.member("zhang.san"), "ListJoinRequests", conversation_id=group),
        "ROLE_NOT_SUFFICIENT",
    )
    await groups.call(
        owner, "DecideJoinRequest", conversation_id=group, user_id="guest", approve=True
    )
    await groups.call(owner, "DecideJoinRequest", conversation_id=group, user_id="other")

    assert (await guest.get(group)).participant_count == 3
    await refused(other.get(group), "CONVERSATION_NOT_FOUND")
    await refused(
        groups.call(owner, "DecideJoinRequest", conversation_id=group, user_id="guest"),
        "JOIN_REQUEST_NOT_FOUND",
    )


async def _ask_to_join(groups: Groups, owner: Person, *guests: Person) -> str:
    """Return a group that these people ask to come into."""
    group = await owner.create_group("zhang.san")
    made = await groups.call(
        owner, "CreateJoinCode", conversation_id=group, request_id=new_id(), needs_approval=True
    )
    for guest in guests:
        await groups.call(guest, "JoinConversation", code=made.join_code.code)
    return group


async def test_who_is_no_member_any_more_is_not_let_in_by_an_old_request(
    corp: Corp, groups: Groups, members: FakeMembers
) -> None:
    """An administrator who agreed brought somebody in whom no departure would take out again."""
    owner = corp.member("li.wei")
    group = await _ask_to_join(groups, owner, corp.member("guest"))
    members.missing.add((corp.corp_id, "guest"))
    decision = {"conversation_id": group, "user_id": "guest", "approve": True}

    plain = groups.call(corp.member("zhang.san"), "DecideJoinRequest", **decision)
    await refused(plain, "ROLE_NOT_SUFFICIENT")
    await refused(groups.call(owner, "DecideJoinRequest", **decision), "USER_NOT_FOUND")
    assert (await owner.get(group)).participant_count == 2
    decision["approve"] = False
    await groups.call(owner, "DecideJoinRequest", **decision)


async def test_what_somebody_who_left_had_asked_for_is_gone(
    corp: Corp, groups: Groups, directory_broker: Client
) -> None:
    """The requests go with the departure, in whichever group they are; others' stay."""
    owner = corp.member("li.wei")
    guests = [corp.member(name) for name in ("guest", "other")]
    made = [await _ask_to_join(groups, owner, *guests) for _ in range(2)]
    event = directory_pb2.MemberLeft(corp_id=corp.corp_id, user_ids=["guest"])
    await publish(directory_broker, "tieline.directory.v1.member_left", event)

    async def is_others_alone() -> bool:
        listed = [
            await groups.call(owner, "ListJoinRequests", conversation_id=group) for group in made
        ]
        return all([each.user_id for each in one.join_requests] == ["other"] for one in listed)

    await eventually(is_others_alone)


async def test_app_speaks_to_a_member_who_may_answer_if_the_app_says_so(
    corp: Corp, groups: Groups, tokens: TestTokens
) -> None:
    reader = corp.member("li.wei")
    token = tokens.app(corp.corp_id, "1000002", rights=["send_app_messages"])
    app = Person(
        reader.stub,
        corp.corp_id,
        principal_pb2.PRINCIPAL_KIND_APP,
        "1000002",
        (("authorization", f"Bearer {token}"),),
    )
    opened = await groups.call(app, "OpenAppConversation", user_id="Li.Wei")
    conversation = opened.conversation.conversation_id

    async with reader.subscribed() as inbox:
        sent = await app.send(conversation, "Your leave is granted")
        await eventually(lambda: inbox.messages(conversation))
    assert inbox.messages(conversation) == [sent]
    assert sent.sender == app.ref
    assert opened.conversation.kind == messaging_pb2.CONVERSATION_KIND_APP
    await refused(reader.send(conversation), "POSTING_NOT_ALLOWED")

    again = await groups.call(app, "OpenAppConversation", user_id="li.wei", accepts_replies=True)
    assert again.conversation.conversation_id == conversation
    answer = await reader.send(conversation, "Thanks")
    assert list((await app.list_messages(conversation)).messages) == [sent, answer]
