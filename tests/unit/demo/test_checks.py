"""The checks of the day: each finds what it is there to find, and nothing else."""

from collections.abc import Callable, Sequence

import pytest

from tieline.demo import checks
from tieline.demo.checks import Line, Opening, Transcript


def line(sequence: int, *, conversation_id: str = "c", text: str = "hello") -> Line:
    return Line(conversation_id, sequence, f"{conversation_id}-{sequence}", text)


def transcript(*sequences: int) -> Transcript:
    return {"c": [line(sequence) for sequence in sequences]}


def packet(*shares: int | None) -> list[Opening]:
    return [Opening(f"wm{number}", share) for number, share in enumerate(shares)]


@pytest.mark.parametrize(
    ("acknowledged", "is_lost"),
    [
        pytest.param([line(1), line(2)], False, id="all stored"),
        pytest.param([line(1), line(3)], True, id="one missing"),
        pytest.param([line(1, text="other")], True, id="other words"),
        pytest.param([line(1, conversation_id="d")], True, id="other conversation"),
    ],
)
def test_message_that_is_not_stored_as_acknowledged_is_lost(
    acknowledged: Sequence[Line], is_lost: bool
) -> None:
    assert bool(checks.find_lost(acknowledged, transcript(1, 2))) == is_lost


def test_same_client_message_id_is_found_twice_even_under_two_numbers() -> None:
    one = line(1)
    again = Line("c", 2, one.client_message_id, one.text)

    assert checks.find_twice({"c": [one, again]}).startswith("1 ")
    assert checks.find_twice({"c": [one], "d": [one]}) == ""


@pytest.mark.parametrize(
    ("sequences", "is_wrong"),
    [
        ((1, 2, 3), False),
        ((), False),
        ((1, 3), True),
        ((2, 3), True),
        ((1, 1), True),
        ((2, 1), True),
    ],
)
def test_numbers_must_run_from_one_without_gaps_in_the_order_read(
    sequences: tuple[int, ...], is_wrong: bool
) -> None:
    assert bool(checks.find_gaps(transcript(*sequences))) == is_wrong


def test_answer_numbered_before_its_question_is_reordered() -> None:
    assert checks.find_reordered([[line(1), line(5)], [line(2), line(9)]]) == ""
    assert checks.find_reordered([[line(5), line(1)]]).startswith("1 ")
    assert checks.find_reordered([[line(1), line(1)]]).startswith("1 ")


@pytest.mark.parametrize(
    ("received", "is_different"),
    [
        pytest.param(transcript(1, 2), False, id="the same"),
        pytest.param({**transcript(1, 2), "other": [line(1)]}, False, id="more conversations"),
        pytest.param(transcript(1), True, id="one missing"),
        pytest.param(transcript(2, 1), True, id="other order"),
        pytest.param(transcript(1, 2, 2), True, id="one twice"),
        pytest.param({}, True, id="nothing"),
    ],
)
def test_client_must_hold_what_is_stored_in_its_order(
    received: Transcript, is_different: bool
) -> None:
    assert bool(checks.find_differences(received, transcript(1, 2))) == is_different


@pytest.mark.parametrize(
    ("openings", "wrong"),
    [
        pytest.param(packet(6, 3, 1, None), "", id="adds up"),
        pytest.param(packet(6, 3, None, None), "2 shares instead of 3", id="share missing"),
        pytest.param(packet(4, 3, 2, 1), "4 shares instead of 3", id="share too many"),
        pytest.param(packet(6, 3, 2, None), "add up to 11", id="a fen too much"),
        pytest.param(packet(6, 3, 0, None), "a share of 0", id="nothing in a share"),
        pytest.param(packet(None, None), "0 shares", id="nobody got one"),
    ],
)
def test_packet_has_its_shares_of_at_least_a_fen_and_they_add_up(
    openings: list[Opening], wrong: str
) -> None:
    found = checks.find_packet_errors(openings, amount_minor=10, share_count=3)

    assert wrong in found
    assert bool(found) == bool(wrong)


def test_second_opening_must_show_what_the_first_one_did() -> None:
    assert checks.find_changed(packet(5, None), packet(5, None)) == ""
    assert checks.find_changed(packet(5, None), packet(4, None))
    assert checks.find_changed(packet(5, None), packet(5, 1))


@pytest.mark.parametrize(
    ("balances", "is_wrong"),
    [
        ({"wm0": 5, "wm1": 0}, False),
        ({"wm0": 4, "wm1": 0}, True),
        ({"wm0": 5, "wm1": 1}, True),
        ({"wm0": 5}, True),
    ],
)
def test_balance_must_be_the_share_and_nothing_for_those_without(
    balances: dict[str, int], is_wrong: bool
) -> None:
    assert bool(checks.find_balance_errors(packet(5, None), balances)) == is_wrong


def test_lines_of_many_conversations_keep_their_order_within_each() -> None:
    received = [line(1), line(1, conversation_id="d"), line(2)]

    assert checks.by_conversation(received) == {
        "c": [line(1), line(2)],
        "d": [line(1, conversation_id="d")],
    }


@pytest.mark.parametrize(
    "check", [checks.find_twice, checks.find_gaps], ids=lambda check: str(check.__name__)
)
def test_empty_transcript_is_in_order(check: Callable[[Transcript], str]) -> None:
    assert check({}) == ""
