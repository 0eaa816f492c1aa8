"""Which tokens a list of revocations voids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis import revocation_list
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.revocation_list import MAX_TOKEN_LIFETIME_S, Revocation, RevocationList

NOW = 1_800_000_000.0
MEMBER = PrincipalKind.MEMBER


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def principal(
    user_id: str = "li.wei",
    corp_id: str = "wwacme",
    session_id: str = "s1",
    kind: PrincipalKind = MEMBER,
    issue_time: float = NOW,
) -> Principal:
    return Principal(kind, user_id, corp_id, session_id, issue_time=issue_time)


@pytest.mark.parametrize(
    ("revocation", "is_revoked"),
    [
        pytest.param(Revocation("wwacme", "s1", NOW), True, id="the session, at that moment"),
        pytest.param(Revocation("wwacme", "s1", NOW - 1e-6), False, id="issued a moment later"),
        pytest.param(Revocation("wwacme", "s2", NOW), False, id="another session"),
        pytest.param(Revocation("wwother", "s1", NOW), False, id="a session of another corp"),
        pytest.param(Revocation("wwacme", (MEMBER, "li.wei"), NOW), True, id="the member"),
        pytest.param(Revocation("wwacme", (MEMBER, "li.na"), NOW), False, id="another member"),
        pytest.param(
            Revocation("wwacme", (PrincipalKind.APP, "li.wei"), NOW), False, id="an app of the name"
        ),
        pytest.param(Revocation("wwother", (MEMBER, "li.wei"), NOW), False, id="namesake"),
        pytest.param(Revocation("wwacme", None, NOW), True, id="the corp"),
        pytest.param(Revocation("wwother", None, NOW), False, id="another corp"),
    ],
)
def test_revocation_voids_what_it_names_and_nothing_else(
    revocation: Revocation, is_revoked: bool
) -> None:
    revocations = RevocationList(clock=Clock())

    revocations.add(revocation)

    assert revocations.is_revoked(principal()) is is_revoked


LINKED_APP = Principal(
    PrincipalKind.LINKED_APP,
    "1000002",
    "wwacme",
    "secret",
    home_corp_id="wwhome",
    link_id="link",
    issue_time=NOW,
)


@pytest.mark.parametrize(
    ("revocation", "is_revoked"),
    [
        pytest.param(Revocation("wwacme", None, NOW), True, id="the corp that lets it in"),
        pytest.param(Revocation("wwhome", None, NOW), True, id="its own corp"),
        pytest.param(Revocation("wwother", None, NOW), False, id="another corp"),
        pytest.param(Revocation("wwhome", "secret", NOW), True, id="its secret"),
        pytest.param(Revocation("wwhome", "secret", NOW - 1), False, id="a second earlier"),
        pytest.param(
            Revocation("wwhome", (PrincipalKind.APP, "1000002"), NOW), True, id="the app at home"
        ),
        pytest.param(
            Revocation("wwacme", (PrincipalKind.APP, "1000002"), NOW), False, id="its namesake"
        ),
        pytest.param(Revocation("wwhome", "link", NOW), True, id="the link, of its own corp"),
        pytest.param(Revocation("wwacme", "link", NOW), True, id="the link, of the other corp"),
        pytest.param(Revocation("wwhome", "other", NOW), False, id="another link"),
    ],
)
def test_linked_app_is_shut_out_by_either_corp_its_app_and_the_link(
    revocation: Revocation, is_revoked: bool
) -> None:
    revocations = RevocationList(clock=Clock())

    revocations.add(revocation)

    assert revocations.is_revoked(LINKED_APP) is is_revoked


def test_principal_that_no_token_named_is_never_revoked() -> None:
    revocations = RevocationList(clock=Clock())
    revocations.add(Revocation("wwacme", None, NOW))

    assert not revocations.is_revoked(Principal(MEMBER, "li.wei", "wwacme", "s1"))


def test_earlier_revocation_that_comes_late_takes_nothing_back() -> None:
    revocations = RevocationList(clock=Clock())

    revocations.add(Revocation("wwacme", "s1", NOW))
    revocations.add(Revocation("wwacme", "s1", NOW - 60))

    assert revocations.is_revoked(principal())
    assert len(revocations) == 1


def test_revocation_is_forgotten_when_no_token_of_then_can_be_good() -> None:
    clock = Clock()
    revocations = RevocationList(clock=clock)
    revocations.add(Revocation("wwacme", "s1", NOW))

    clock.now = NOW + MAX_TOKEN_LIFETIME_S
    revocations.add(Revocation("wwother", "s2", clock.now))
    assert revocations.is_revoked(principal())
    clock.now += 120
    revocations.add(Revocation("wwother", "s3", clock.now))

    assert not revocations.is_revoked(principal())
    assert len(revocations) == 2


def test_revocation_that_is_over_is_not_remembered() -> None:
    revocations = RevocationList(clock=Clock())

    revocations.add(Revocation("wwacme", "s1", NOW - MAX_TOKEN_LIFETIME_S - 31))

    assert len(revocations) == 0


def test_full_list_voids_more_and_never_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation_list, "MAX_ENTRIES", 3)
    revocations = RevocationList(clock=Clock())
    revocations.add(Revocation("wwother", "s1", NOW))

    for number in range(50):
        revocations.add(Revocation("wwacme", f"s{number}", NOW + number))

    assert len(revocations) <= 3
    assert revocations.is_revoked(principal(session_id="s0", issue_time=NOW))
    assert revocations.is_revoked(principal(corp_id="wwother"))
    assert not revocations.is_revoked(principal(issue_time=NOW + 50))
    assert not revocations.is_revoked(principal(corp_id="wwthird"))


def test_listener_hears_of_each_addition() -> None:
    revocations = RevocationList(clock=Clock())
    heard: list[int] = []
    revocations.listen(lambda: heard.append(len(revocations)))

    revocations.add(Revocation("wwacme", "s1", NOW))
    revocations.add(Revocation("wwacme", "s2", NOW))

    assert heard == [1, 2]


CORPS = st.sampled_from(["", "wwacme", "wwother"])
SESSIONS = st.sampled_from(["s1", "s2"])
USERS = st.sampled_from(["li.wei", "li.na"])
TIMES = st.floats(NOW - 2 * MAX_TOKEN_LIFETIME_S, NOW)
HOLDERS = st.one_of(st.none(), SESSIONS, st.tuples(st.just(MEMBER), USERS))


@given(
    st.lists(st.builds(Revocation, CORPS, HOLDERS, TIMES)),
    st.builds(principal, USERS, CORPS, SESSIONS, st.just(MEMBER), TIMES),
    st.integers(1, 5),
)
def test_every_token_that_may_be_good_and_was_revoked_is_refused(
    added: list[Revocation], caller: Principal, maximum: int
) -> None:
    clock = Clock()
    revocations = RevocationList(clock=clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revocation_list, "MAX_ENTRIES", maximum)
        for revocation in added:
            clock.now += 30
            revocations.add(revocation)
    named = [
        revocation
        for revocation in added
        if revocation.corp_id == caller.corp_id
        and revocation.holder in (None, caller.session_id, (caller.kind, caller.id))
        and caller.issue_time <= revocation.issue_time_limit
    ]

    may_be_good = caller.issue_time + MAX_TOKEN_LIFETIME_S > clock.now

    assert revocations.is_revoked(caller) or not (named and may_be_good)
