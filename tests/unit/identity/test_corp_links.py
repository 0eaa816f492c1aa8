"""The rules of links between corps."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from tieline.identity.corp_links import (
    MAX_OPEN_LINKS,
    Act,
    CorpLink,
    CorpLinkKind,
    CorpLinkState,
    Share,
    ShareScope,
    apply_act,
    check_link_count,
    check_link_id,
    check_linkable,
    check_share,
    with_share,
)
from tieline.identity.corps import Corp, CorpKind

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
