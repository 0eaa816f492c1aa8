from pathlib import Path

from tieline.client.held_numbers import HeldNumbersFile


def test_numbers_are_there_for_the_next_one_who_opens_the_file(tmp_path: Path) -> None:
    first = HeldNumbersFile(tmp_path / "held")
    first.put("a", 1)
    first.put("b", 7)
    first.put("a", 2)
    first.put("gone", 3)
    first.forget("gone")

    # Opened again without being closed, as after a kill.
    second = HeldNumbersFile(tmp_path / "held")

    assert list(second.load().items()) == [("b", 7), ("a", 2)]
    first.close()
    second.close()


def test_line_that_was_not_finished_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    path = tmp_path / "held"
    path.write_text('["a", 5]\n["a", 6]\n["b", 1')

    store = HeldNumbersFile(path)

    assert store.load() == {"a": 6}
    store.close()


def test_file_does_not_grow_from_one_opening_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "held"
    store = HeldNumbersFile(path)
    for number in range(1000):
        store.put("a", number)
    store.close()

    HeldNumbersFile(path).close()

    assert path.read_text() == '["a", 999]\n'
