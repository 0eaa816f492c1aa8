import pytest

from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.messaging.conversations.rules import (
    MAX_GROUP_PARTICIPANTS,
    ConversationKind,
    NewConversation,
    Participant,
    build_direct_key,
    check_conversation_request,
    customer,
    find_participant,
    member,
    participant_to_proto,
)

CALLER = member("li.wei")


def check(
    *,
    kind: messaging_pb2.ConversationKind.ValueType = messaging_pb2.CONVERSATION_KIND_GROUP,
    name: str = "Team",
    user_ids: tuple[str, ...] = ("zhang.san",),
) -> NewConversation:
    return check_conversation_request(kind, name, user_ids, CALLER)


def violations(
    *,
    kind: messaging_pb2.ConversationKind.ValueType = messaging_pb2.CONVERSATION_KIND_GROUP,
    name: str = "Team",
    user_ids: tuple[str, ...] = ("zhang.san",),
) -> set[str]:
    with pytest.raises(InvalidArgumentError) as caught:
        check(kind=kind, name=name, user_ids=user_ids)
    return set(caught.value.violations)


def test_the_pair_has_one_key_in_whichever_order() -> None:
    pair = (member("li.wei"), customer("wm1"))

    assert build_direct_key(pair) == build_direct_key(reversed(pair))


def test_member_and_customer_of_one_id_are_different_pairs() -> None:
    assert build_direct_key((CALLER, member("wm1"))) != build_direct_key((CALLER, customer("wm1")))


def test_members_are_the_same_in_whatever_case() -> None:
    assert member("Li.Wei") == CALLER


def test_the_caller_and_repeated_people_count_once() -> None:
    new = check(user_ids=("li.wei", "ZHANG.san", "zhang.san"))

    assert new.kind is ConversationKind.GROUP
    assert new.others == [member("zhang.san")]


def test_direct_conversation_names_one_other_beside_the_caller() -> None:
    new = check(
        kind=messaging_pb2.CONVERSATION_KIND_DIRECT, name="", user_ids=("Li.Wei", "zhang.san")
    )

    assert new.others == [member("zhang.san")]


@pytest.mark.parametrize(
    ("others", "is_allowed"),
    [
        pytest.param(0, False, id="nobody else"),
        pytest.param(1, True, id="one other"),
        pytest.param(MAX_GROUP_PARTICIPANTS - 1, True, id="full with the caller"),
        pytest.param(MAX_GROUP_PARTICIPANTS, False, id="one too many"),
    ],
)
def test_group_holds_two_to_two_thousand(others: int, is_allowed: bool) -> None:
    user_ids = tuple(f"user{number}" for number in range(others))

    if is_allowed:
        assert len(check(user_ids=user_ids).others) == others
    else:
        assert violations(user_ids=user_ids) == {"user_ids"}


@pytest.mark.parametrize(
    ("kind", "name", "user_ids", "wrong"),
    [
        pytest.param(
            messaging_pb2.CONVERSATION_KIND_DIRECT, "x", ("b",), {"name"}, id="direct with a name"
        ),
        pytest.param(
            messaging_pb2.CONVERSATION_KIND_DIRECT, "", ("b", "c"), {"user_ids"}, id="two others"
        ),
        pytest.param(
            messaging_pb2.CONVERSATION_KIND_DIRECT, "", ("LI.wei",), {"user_ids"}, id="with oneself"
        ),
        pytest.param(
            messaging_pb2.CONVERSATION_KIND_CUSTOMER_GROUP, "x", ("b",), {"kind"}, id="not here"
        ),
        pytest.param(99, "x", ("b",), {"kind"}, id="unknown kind"),
        pytest.param(messaging_pb2.CONVERSATION_KIND_GROUP, "", ("b",), {"name"}, id="no name"),
        pytest.param(
            messaging_pb2.CONVERSATION_KIND_GROUP, "x" * 65, ("b",), {"name"}, id="long name"
        ),
        pytest.param(
            messaging_pb2.CONVERSATION_KIND_GROUP,
            "",
            ("b", "no spaces"),
            {"name", "user_ids[1]"},
            id="all violations at once",
        ),
    ],
)
def test_wrong_conversations_are_refused_with_every_field(
    kind: messaging_pb2.ConversationKind.ValueType,
    name: str,
    user_ids: tuple[str, ...],
    wrong: set[str],
) -> None:
    assert violations(kind=kind, name=name, user_ids=user_ids) == wrong


@pytest.mark.parametrize("participant", [member("li.wei"), customer("wm1")])
def test_participants_come_back_from_the_wire_as_they_were(participant: Participant) -> None:
    assert find_participant(participant_to_proto(participant)) == participant


def test_platform_administrators_are_in_no_conversation() -> None:
    ref = principal_pb2.PrincipalRef(
        kind=principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR, id="root"
    )

    assert find_participant(ref) is None
