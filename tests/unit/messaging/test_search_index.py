import pytest

from tieline.messaging.repositories.search import Behind
from tieline.messaging.search.index import BATCH_MESSAGES, cut_batches


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([1, BATCH_MESSAGES - 1], [[0, 1]], id="as many as there is room for"),
        pytest.param([1, BATCH_MESSAGES], [[0], [1]], id="one message too many"),
        pytest.param([BATCH_MESSAGES + 1, 1], [[0], [1]], id="one that fills several"),
    ],
)
def test_what_is_behind_is_cut_into_batches(behind: list[int], expected: list[list[int]]) -> None:
    conversations = [Behind("corp", str(index), count) for index, count in enumerate(behind)]

    batches = list(cut_batches(conversations))

    assert batches == [[str(index) for index in each] for each in expected]
