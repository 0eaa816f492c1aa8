"""The guard against mass deletion: the reference's limits."""

import pytest

from tieline.chassis.errors import FailedPreconditionError
from tieline.directory.imports.options import check_removals, is_mass_delete


@pytest.mark.parametrize(
    ("removals", "total", "is_refused"),
    [
        pytest.param(0, 0, False, id="empty corp"),
        pytest.param(0, 10, False, id="nobody"),
        pytest.param(8, 10, False, id="few, and 80 %"),
        pytest.param(9, 10, True, id="few, and more than 80 %"),
        pytest.param(1, 1, True, id="the only one"),
        pytest.param(50, 60, True, id="50, and more than 80 %"),
        pytest.param(50, 100, False, id="50, and half"),
        pytest.param(51, 255, False, id="51, and 20 %"),
        pytest.param(51, 254, True, id="51, and more than 20 %"),
        pytest.param(7200, 36000, False, id="20 % of many"),
        pytest.param(7201, 36000, True, id="more than 20 % of many"),
    ],
)
def test_guard_asks_about_what_the_reference_aborts(
    removals: int, total: int, is_refused: bool
) -> None:
    assert is_mass_delete(removals, total) is is_refused


def test_confirmed_number_must_be_the_very_one() -> None:
    check_removals(90, 100, 90)
    check_removals(1, 100, 0)

    with pytest.raises(FailedPreconditionError):
        check_removals(90, 100, 91)
