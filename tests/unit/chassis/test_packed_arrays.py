"""What can't be packed is refused before it shifts anything."""

import pytest

from tieline.chassis.packed_arrays import pack_texts


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([""], id="empty"),
        pytest.param(["a", "", "b"], id="empty among others"),
        pytest.param(["a\x1fb"], id="separator"),
        pytest.param(["a", "\x1f"], id="separator alone"),
    ],
)
def test_text_that_would_shift_those_behind_it_is_refused(values: list[str]) -> None:
    with pytest.raises(ValueError, match="U\\+001F"):
        pack_texts(values)
