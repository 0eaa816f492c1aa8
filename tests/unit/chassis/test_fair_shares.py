"""What one corp may take while others want it too."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.admission.fair_shares import MAX_FLOODING_CORPS, fair_share, find_flooding


@pytest.mark.parametrize(
    ("wanted", "capacity", "share"),
    [
        pytest.param({"a": 10, "b": 10}, 20, math.inf, id="all fits"),
        pytest.param({"a": 10, "b": 11}, 20, 10, id="one more than fits"),
        pytest.param({"a": 100, "b": 10}, 60, 50, id="what the small one leaves"),
        pytest.param({"a": 100, "b": 100, "c": 4}, 24, 10, id="shared by the large ones"),
        pytest.param({}, 10, math.inf, id="nobody"),
    ],
)
def test_share(wanted: dict[str, int], capacity: float, share: float) -> None:
    assert fair_share(wanted, capacity) == pytest.approx(share)


ONE_EACH = {f"ww{number}": 1 for number in range(100)}
MANY = {f"ww{number}": 10 for number in range(100)}


@pytest.mark.parametrize(
    ("wanted", "capacity", "flooding"),
    [
        pytest.param({**MANY, "flood": 5000}, 2000, {"flood"}, id="one floods"),
        pytest.param({**MANY, "flood": 5000}, 7000, set(), id="there is room for all"),
        pytest.param({"only": 5000}, 100, set(), id="one corp has nobody to be fair to"),
        pytest.param({"a": 5000, "b": 5000}, 100, set(), id="everybody asks for more"),
        pytest.param(dict.fromkeys(MANY, 100), 1000, set(), id="a surge of all is no flood"),
        pytest.param({"a": 20, "b": 10, "c": 10}, 31, set(), id="twice the others is no flood"),
        pytest.param({"a": 21, "b": 10, "c": 10}, 31, {"a"}, id="more than twice the others"),
        pytest.param({**ONE_EACH, "flood": 90}, 60, {"flood"}, id="others already wait"),
        pytest.param({**ONE_EACH, "a": 5}, 60, set(), id="five calls are no flood"),
    ],
)
def test_flood(wanted: dict[str, int], capacity: float, flooding: set[str]) -> None:
    assert find_flooding(wanted, capacity) == flooding


@given(
    st.dictionaries(st.text(max_size=3), st.integers(1, 10_000), max_size=30),
    st.floats(1, 100_000),
)
def test_shares_never_give_more_than_there_is_and_waste_nothing(
    wanted: dict[str, int], capacity: float
) -> None:
    share = fair_share(wanted, capacity)
    given_out = sum(min(amount, share) for amount in wanted.values())
    assert given_out == pytest.approx(min(sum(wanted.values()), capacity))


@given(
    st.dictionaries(st.text(max_size=3), st.integers(1, 10_000), max_size=30),
    st.floats(1, 100_000),
)
def test_only_a_few_are_singled_out_and_never_everybody(
    wanted: dict[str, int], capacity: float
) -> None:
    flooding = find_flooding(wanted, capacity)
    assert len(flooding) <= MAX_FLOODING_CORPS
    assert not flooding or len(flooding) < len(wanted)
