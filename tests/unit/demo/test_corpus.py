"""What is said: both languages, within the limits of a text message."""

import pytest

from tieline.demo.corpus import MAX_TEXT_BYTES, load_dialogues
from tieline.demo.dialogues import take_dialogues


def test_dialogues_are_of_both_languages_and_can_be_sent() -> None:
    dialogues = load_dialogues()

    lines = [line for dialogue in dialogues for line in dialogue]
    assert any("人工智能" in line for line in lines)
    assert any("artificial intelligence" in line for line in lines)
    assert len(lines) > 5_000
    assert all(0 < len(line.encode()) <= MAX_TEXT_BYTES for line in lines)
    assert all(line == line.strip() for line in lines)
    assert min(len(dialogue) for dialogue in dialogues) >= 2


@pytest.mark.parametrize("line_count", [1, 2, 5, 6, 17])
def test_exactly_so_many_lines_are_taken_over_and_over_if_need_be(line_count: int) -> None:
    dialogues = [("a", "b"), ("c", "d", "e")]

    taken = take_dialogues(dialogues, line_count)

    spoken = "".join(line for dialogue in taken for line in dialogue)
    assert spoken == ("abcde" * 4)[:line_count]
