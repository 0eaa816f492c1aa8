import pytest

from tieline.chassis.errors import AbortedError
from tieline.chassis.etags import check_etag


@pytest.mark.parametrize("given", ["", "7"])
def test_a_change_of_what_was_read_goes_through(given: str) -> None:
    check_etag(given, 7)


@pytest.mark.parametrize("given", ["6", "07", "x"])
def test_a_change_of_what_was_not_read_is_refused(given: str) -> None:
    with pytest.raises(AbortedError) as raised:
        check_etag(given, 7)

    assert (raised.value.reason, raised.value.metadata) == ("ETAG_MISMATCH", {"etag": "7"})
