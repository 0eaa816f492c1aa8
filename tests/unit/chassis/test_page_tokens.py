import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.page_tokens import PageTokens, page_size

TOKENS = PageTokens(b"a key of the service's replicas")

positions = st.lists(
    st.one_of(
        st.text(st.characters(codec="utf-8")), st.integers(min_value=-(2**63), max_value=2**63 - 1)
    ),
    max_size=4,
)


def query(
    department_id: int = 7, page_token: str = "", page_size: int = 0
) -> directory.ListMembersRequest:
    return directory.ListMembersRequest(
        corp_id="ww1", department_id=department_id, page_token=page_token, page_size=page_size
    )


@given(positions)
def test_a_token_gives_back_the_position_that_it_was_made_of(position: list[str | int]) -> None:
    token = TOKENS.encode(position, query())

    assert TOKENS.decode(token, query(page_token=token, page_size=3)) == position


@given(positions)
def test_a_cursor_gives_back_the_position_that_it_was_made_of(position: list[str | int]) -> None:
    cursor = TOKENS.encode_cursor(position, query())

    assert TOKENS.decode(cursor, query()) == position


def test_whoever_takes_a_token_apart_reads_no_position() -> None:
    token = TOKENS.encode(["13800000001"], query())

    assert b"1380" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 17])
def test_a_token_that_was_cut_off_is_refused(cut: int) -> None:
    raw = base64.urlsafe_b64decode(TOKENS.encode_cursor(["a"], query()) + "==")[:cut]

    assert cut == 0 or _refused(base64.urlsafe_b64encode(raw).decode(), query())


def test_no_token_means_the_first_page() -> None:
    assert TOKENS.decode("", query()) is None


def _refused(token: str, request: directory.ListMembersRequest) -> bool:
    try:
        TOKENS.decode(token, request)
    except InvalidArgumentError as error:
        return error.reason == "PAGE_TOKEN_INVALID"
    return False


def test_a_token_of_another_query_is_refused() -> None:
    token = TOKENS.encode(["a"], query())

    assert _refused(token, query(department_id=8))


def test_a_token_of_another_service_is_refused() -> None:
    token = PageTokens(b"another key").encode(["a"], query())

    assert _refused(token, query())


def test_a_token_of_another_request_type_is_refused() -> None:
    token = TOKENS.encode(["a"], directory.ListDepartmentsRequest(corp_id="ww1"))

    assert _refused(token, directory.ListMembersRequest(corp_id="ww1"))


@given(st.text(max_size=200))
def test_made_up_tokens_are_refused(token: str) -> None:
    assert token == "" or _refused(token, query())


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    token = TOKENS.encode(["a", 1], query())
    index = data.draw(st.integers(0, len(token) - 2))
    replacement = data.draw(st.sampled_from([c for c in "ABCDabcd0189-_" if c != token[index]]))

    changed = token[:index] + replacement + token[index + 1 :]

    assert _refused(changed, query())


@pytest.mark.parametrize(
    ("rows", "page", "position"),
    [
        pytest.param([], [], None, id="nothing"),
        pytest.param([1, 2], [1, 2], None, id="the last page is full"),
        pytest.param([1, 2, 3], [1, 2], [2], id="another page follows"),
    ],
)
def test_a_page_has_a_token_where_another_follows(
    rows: list[int], page: list[int], position: list[int] | None
) -> None:
    cut, token = TOKENS.cut(rows, 2, query(), lambda row: [row])

    assert cut == page
    assert TOKENS.decode(token, query()) == position


@pytest.mark.parametrize(
    ("requested", "size"),
    [
        pytest.param(0, 50, id="none given"),
        pytest.param(1, 1, id="one"),
        pytest.param(200, 200, id="the maximum"),
        pytest.param(201, 200, id="one too many is lowered"),
    ],
)
def test_page_size_follows_the_standard(requested: int, size: int) -> None:
    assert page_size(requested, default=50, maximum=200) == size


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        page_size(-1, default=50, maximum=200)
