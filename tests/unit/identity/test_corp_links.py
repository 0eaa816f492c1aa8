"""The rules of links between corps."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ServiceError,
)
from tieline.identity.corps.rules import Corp, CorpKind
from tieline.identity.links.rules import (
    MAX_OPEN_LINKS,
    Act,
    CorpLink,
    CorpLinkKind,
    CorpLinkState,
    Share,
    ShareScope,
    apply_act,
    check_lets_in,
    check_link_count,
    check_link_id,
    check_linkable,
    check_share,
    choose_link,
    shuts_out,
    with_share,
)

UPPER, LOWER = "ww-upper", "ww-lower"
LINK = CorpLink("1", CorpLinkKind.GROUP, UPPER, LOWER)
EVERYBODY = Share(ShareScope.WHOLE_DIRECTORY, mobile=True)
INVITED, ACTIVE, DECLINED, LEFT = CorpLinkState

# state, side, act -> state after it; what is not here is refused.
ALLOWED = {
    (INVITED, LOWER, Act.ACCEPT): ACTIVE,
    (INVITED, LOWER, Act.DECLINE): DECLINED,
    (INVITED, UPPER, Act.LEAVE): LEFT,
    (ACTIVE, LOWER, Act.ACCEPT): ACTIVE,
    (ACTIVE, LOWER, Act.LEAVE): LEFT,
    (ACTIVE, UPPER, Act.LEAVE): LEFT,
    (DECLINED, LOWER, Act.DECLINE): DECLINED,
    (LEFT, LOWER, Act.LEAVE): LEFT,
    (LEFT, UPPER, Act.LEAVE): LEFT,
}


def corp(kind: CorpKind) -> Corp:
    return Corp("ww", "Name", kind, "boss", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("side", [UPPER, LOWER])
@pytest.mark.parametrize("state", CorpLinkState)
def test_a_side_does_what_the_states_picture_says_and_nothing_else(
    state: CorpLinkState, side: str, act: Act
) -> None:
    link = replace(LINK, state=state)
    after = ALLOWED.get((state, side, act))

    if after is None:
        with pytest.raises(FailedPreconditionError) as caught:
            apply_act(link, side, act)
        assert caught.value.reason == "CORP_LINK_STATE"
        assert caught.value.metadata == {"state": state}
    else:
        assert apply_act(link, side, act) == replace(link, state=after)
        assert (apply_act(link, side, act) is link) is (after is state)


@given(st.lists(st.tuples(st.sampled_from([UPPER, LOWER]), st.sampled_from(list(Act)))))
def test_no_link_comes_back_and_none_is_active_unless_the_lower_side_accepted(
    acts: list[tuple[str, Act]],
) -> None:
    link, seen, was_accepted = LINK, [INVITED], False
    for side, act in acts:
        was_accepted = was_accepted or (side == LOWER and act is Act.ACCEPT)
        try:
            link = apply_act(link, side, act)
        except FailedPreconditionError:
            continue
        if link.state is not seen[-1]:
            seen.append(link.state)

    assert len(set(seen)) == len(seen)
    assert link.state is not ACTIVE or was_accepted


@pytest.mark.parametrize(
    ("kind", "upper", "lower", "is_linkable"),
    [
        (CorpLinkKind.GROUP, CorpKind.COMPANY, CorpKind.COMPANY, True),
        (CorpLinkKind.GROUP, CorpKind.SCHOOL, CorpKind.SCHOOL, True),
        (CorpLinkKind.UPSTREAM_DOWNSTREAM, CorpKind.COMPANY, CorpKind.HOSPITAL, True),
        (CorpLinkKind.UPSTREAM_DOWNSTREAM, CorpKind.COMPANY, CorpKind.SCHOOL, False),
        (CorpLinkKind.UPSTREAM_DOWNSTREAM, CorpKind.SCHOOL, CorpKind.COMPANY, False),
        (CorpLinkKind.BUREAU_SCHOOL, CorpKind.GOVERNMENT, CorpKind.SCHOOL, True),
        (CorpLinkKind.BUREAU_SCHOOL, CorpKind.SCHOOL, CorpKind.GOVERNMENT, False),
        (CorpLinkKind.BUREAU_SCHOOL, CorpKind.COMPANY, CorpKind.SCHOOL, False),
        (CorpLinkKind.BUREAU_SCHOOL, CorpKind.GOVERNMENT, CorpKind.COMPANY, False),
    ],
)
def test_schools_have_bureaus_and_no_partners(
    kind: CorpLinkKind, upper: CorpKind, lower: CorpKind, is_linkable: bool
) -> None:
    if is_linkable:
        check_linkable(kind, corp(upper), corp(lower))
    else:
        with pytest.raises(FailedPreconditionError) as caught:
            check_linkable(kind, corp(upper), corp(lower))
        assert caught.value.reason == "CORPS_NOT_LINKABLE"


@pytest.mark.parametrize(
    ("share", "field"),
    [
        pytest.param(Share(ShareScope.DEPARTMENTS), "share.department_ids", id="no departments"),
        pytest.param(
            Share(ShareScope.DEPARTMENTS, (1, 0)), "share.department_ids[1]", id="no department"
        ),
        pytest.param(
            Share(ShareScope.DEPARTMENTS, (7, 7)), "share.department_ids[1]", id="one twice"
        ),
        pytest.param(
            Share(ShareScope.DEPARTMENTS, tuple(range(1, 102))), "share.department_ids", id="101"
        ),
        pytest.param(
            Share(ShareScope.WHOLE_DIRECTORY, (1,)), "share.department_ids", id="of everybody"
        ),
        pytest.param(Share(ShareScope.NOTHING, (1,)), "share.department_ids", id="of nobody"),
    ],
)
def test_departments_that_do_not_fit_the_scope_are_refused(share: Share, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_share(share)

    assert list(caught.value.violations) == [field]


def test_a_hundred_departments_can_be_shared() -> None:
    check_share(Share(ShareScope.DEPARTMENTS, tuple(range(1, 101))))


def test_each_side_sets_its_own_share_alone() -> None:
    assert with_share(LINK, UPPER, EVERYBODY) == replace(LINK, upper_share=EVERYBODY)
    assert with_share(LINK, LOWER, EVERYBODY) == replace(LINK, lower_share=EVERYBODY)
    assert with_share(LINK, LOWER, Share()) is LINK


@pytest.mark.parametrize("state", [DECLINED, LEFT])
def test_nothing_is_shared_over_a_link_that_ended(state: CorpLinkState) -> None:
    with pytest.raises(FailedPreconditionError):
        with_share(replace(LINK, state=state), UPPER, EVERYBODY)


def test_the_last_link_that_fits_is_allowed_and_the_next_is_not() -> None:
    check_link_count(MAX_OPEN_LINKS - 1, 0)

    with pytest.raises(FailedPreconditionError) as caught:
        check_link_count(0, MAX_OPEN_LINKS)
    assert caught.value.metadata == {"limit": "10000"}


def test_what_can_not_be_a_links_id_names_none() -> None:
    link_id = "018F3D2E-7C1A-7B6E-9F00-3A5B8C2D1E4F"

    assert check_link_id(link_id) == link_id.lower()
    with pytest.raises(NotFoundError):
        check_link_id("\x00")


GROUP_LINK = replace(LINK, state=ACTIVE, lower_share=EVERYBODY)
UPSTREAM_LINK = replace(GROUP_LINK, link_id="2", kind=CorpLinkKind.UPSTREAM_DOWNSTREAM)


@pytest.mark.parametrize(
    ("links", "kind", "link_id"),
    [
        ([GROUP_LINK], None, "1"),
        ([GROUP_LINK, UPSTREAM_LINK], CorpLinkKind.UPSTREAM_DOWNSTREAM, "2"),
    ],
)
def test_the_link_that_is_meant_is_chosen(
    links: list[CorpLink], kind: CorpLinkKind | None, link_id: str
) -> None:
    assert choose_link(links, kind).link_id == link_id


@pytest.mark.parametrize("kind", [None, CorpLinkKind.BUREAU_SCHOOL])
def test_no_link_of_the_kind_is_none(kind: CorpLinkKind | None) -> None:
    with pytest.raises(NotFoundError, match="no such link"):
        choose_link([] if kind is None else [GROUP_LINK], kind)


def test_one_of_several_links_must_be_named() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        choose_link([GROUP_LINK, UPSTREAM_LINK], None)

    assert list(raised.value.violations) == ["kind"]


NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
LOWER_CORP = replace(corp(CorpKind.COMPANY), corp_id=LOWER)


@pytest.mark.parametrize(
    ("link", "linked", "reason"),
    [
        pytest.param(GROUP_LINK, LOWER_CORP, "", id="shares everything"),
        pytest.param(
            replace(GROUP_LINK, lower_share=Share(ShareScope.DEPARTMENTS, (7,))),
            LOWER_CORP,
            "",
            id="shares a department",
        ),
        pytest.param(
            replace(GROUP_LINK, lower_share=Share(), upper_share=EVERYBODY),
            LOWER_CORP,
            "NOTHING_SHARED",
            id="only the app's own corp shares",
        ),
        pytest.param(
            GROUP_LINK,
            replace(LOWER_CORP, suspend_time=NOW),
            "LINKED_CORP_NOT_ACTIVE",
            id="suspended",
        ),
        pytest.param(
            GROUP_LINK,
            replace(LOWER_CORP, delete_request_time=NOW, purge_time=NOW),
            "LINKED_CORP_NOT_ACTIVE",
            id="being deleted",
        ),
        pytest.param(GROUP_LINK, None, "CORP_LINK_NOT_FOUND", id="gone"),
    ],
)
def test_a_corp_lets_apps_in_while_it_is_active_and_shares(
    link: CorpLink, linked: Corp | None, reason: str
) -> None:
    if not reason:
        return check_lets_in(link, linked)
    with pytest.raises(ServiceError) as raised:
        check_lets_in(link, linked)
    assert raised.value.reason == reason
    return None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(GROUP_LINK, replace(GROUP_LINK, state=LEFT), True, id="left"),
        pytest.param(GROUP_LINK, replace(GROUP_LINK, lower_share=Share()), True, id="nothing left"),
        pytest.param(
            GROUP_LINK,
            replace(GROUP_LINK, lower_share=Share(ShareScope.DEPARTMENTS, (7,))),
            False,
            id="less",
        ),
        pytest.param(
            replace(GROUP_LINK, lower_share=Share()), GROUP_LINK, False, id="begins to share"
        ),
        pytest.param(LINK, replace(LINK, state=ACTIVE), False, id="accepted"),
        pytest.param(LINK, replace(LINK, state=LEFT), False, id="taken back"),
    ],
)
def test_what_ends_a_link_or_a_share_shuts_apps_out(
    before: CorpLink, after: CorpLink, expected: bool
) -> None:
    assert shuts_out(before, after) is expected
