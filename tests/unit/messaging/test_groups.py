import datetime as dt

import pytest

from tieline.api.messaging.v1 import conversation_note_pb2
from tieline.messaging.conversations.rules import (
    Conversation,
    ConversationKind,
    Participant,
    Role,
    Settings,
    customer,
    member,
)
from tieline.messaging.groups.rules import (
    Place,
    change_settings,
    check_removal,
    check_room,
    choose_successor,
    find_content_refusal,
    find_refusal,
)

NOW = dt.datetime(2026, 2, 17, 9, 0, tzinfo=dt.UTC)


def place(participant: Participant, role: Role = Role.MEMBER, minutes: int = 0) -> Place:
    return Place(participant, role, NOW + dt.timedelta(minutes=minutes))


def group(role: Role | None = Role.OWNER, participant_count: int = 3) -> Conversation:
    return Conversation(
        "ww",
        "c1",
        ConversationKind.GROUP,
        Settings(name="Team"),
        0,
        0,
        NOW,
        participant_count,
        NOW,
        None,
        role=role,
    )


@pytest.mark.parametrize(
    ("role", "posting", "reason"),
    [
        pytest.param("member", "everyone", None, id="everybody"),
        pytest.param("member", "admins", "POSTING_NOT_ALLOWED", id="not a plain member"),
        pytest.param("admin", "admins", None, id="an administrator"),
        pytest.param("admin", "owner", "POSTING_NOT_ALLOWED", id="not an administrator"),
        pytest.param("owner", "owner", None, id="the owner"),
        pytest.param("owner", "nobody", "CONVERSATION_DISMISSED", id="not even the owner"),
        pytest.param("member", "nobody", "CONVERSATION_DISMISSED", id="nobody"),
    ],
)
def test_settings_decide_who_may_send(role: str, posting: str, reason: str | None) -> None:
    refusal = find_refusal(role, posting)

    assert (refusal.reason if refusal else None) == reason


@pytest.mark.parametrize(
    ("kind", "role", "said", "reason"),
    [
        pytest.param("group", "owner", {"is_notice"}, None, id="owner's notice"),
        pytest.param("group", "admin", {"is_notice"}, None, id="administrator's notice"),
        pytest.param("group", "member", {"is_notice"}, "ROLE_NOT_SUFFICIENT", id="notice"),
        pytest.param("customer_group", "owner", {"is_notice"}, None, id="notice to customers"),
        pytest.param(
            "customer_group", "member", {"is_notice"}, "ROLE_NOT_SUFFICIENT", id="customer's notice"
        ),
        pytest.param(
            "direct", "member", {"is_notice"}, "WRONG_CONVERSATION_KIND", id="notice to one"
        ),
        pytest.param("app", "owner", {"is_notice"}, "WRONG_CONVERSATION_KIND", id="app's notice"),
        pytest.param("group", "member", {"mentions_everyone"}, None, id="everyone"),
        pytest.param("customer_group", "member", {"mentions_everyone"}, None, id="and customers"),
        pytest.param(
            "direct", "member", {"mentions_everyone"}, "WRONG_CONVERSATION_KIND", id="one is all"
        ),
        pytest.param(
            "app", "owner", {"mentions_everyone"}, "WRONG_CONVERSATION_KIND", id="of an app"
        ),
        pytest.param("direct", "member", set(), None, id="words"),
    ],
)
def test_notices_are_of_who_leads_a_group_and_everyone_is_mentioned_in_groups(
    kind: str, role: str, said: set[str], reason: str | None
) -> None:
    refusal = find_content_refusal(
        kind,
        role,
        is_notice="is_notice" in said,
        mentions_everyone="mentions_everyone" in said,
    )

    assert (refusal.reason if refusal else None) == reason


@pytest.mark.parametrize(
    ("places", "successor"),
    [
        pytest.param([], None, id="nobody is left"),
        pytest.param([place(customer("wm1"))], None, id="customers own nothing"),
        pytest.param([place(member("b"), minutes=1), place(member("a"), minutes=2)], "b", id="old"),
        pytest.param(
            [place(member("a")), place(member("b"), Role.ADMIN, minutes=9)], "b", id="administrator"
        ),
        pytest.param(
            [place(member("a"), Role.ADMIN, 2), place(member("b"), Role.ADMIN, 1)],
            "b",
            id="older administrator",
        ),
        pytest.param([place(member("b")), place(member("a"))], "a", id="came together"),
    ],
)
def test_owner_is_followed_by_the_oldest(places: list[Place], successor: str | None) -> None:
    chosen = choose_successor(places)

    assert (chosen.id if chosen else None) == successor


@pytest.mark.parametrize(
    ("role", "target", "is_allowed"),
    [
        pytest.param(Role.OWNER, Role.ADMIN, True, id="owner, administrator"),
        pytest.param(Role.ADMIN, Role.MEMBER, True, id="administrator, member"),
        pytest.param(Role.ADMIN, Role.ADMIN, False, id="administrator, administrator"),
        pytest.param(Role.ADMIN, Role.OWNER, False, id="administrator, owner"),
        pytest.param(Role.MEMBER, Role.MEMBER, False, id="member, member"),
    ],
)
def test_removal_goes_down_the_roles(role: Role, target: Role, is_allowed: bool) -> None:
    def act() -> None:
        check_removal(group(role), [place(member("x"), target)])

    if is_allowed:
        act()
    else:
        with pytest.raises(Exception, match="role"):
            act()


@pytest.mark.parametrize(("count", "is_full"), [(1999, False), (2000, True)])
def test_two_thousand_are_enough(count: int, is_full: bool) -> None:
    def act() -> None:
        check_room(group(participant_count=count), 1)

    if is_full:
        with pytest.raises(Exception, match="2000"):
            act()
    else:
        act()


def test_changed_notice_has_a_time_and_an_equal_one_changes_nothing() -> None:
    wanted = conversation_note_pb2.ConversationSettings(notice="Be kind", name="Team")

    changed, fields = change_settings(
        ConversationKind.GROUP, Settings(name="Team"), wanted, ["notice", "name"], NOW
    )
    again = change_settings(ConversationKind.GROUP, changed, wanted, ["notice"], NOW)

    assert (changed.notice, changed.notice_time, fields) == ("Be kind", NOW, ["notice"])
    assert again == (changed, [])
