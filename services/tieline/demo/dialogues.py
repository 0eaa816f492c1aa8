"""What people say to each other, and as much of it as a day needs. Pure."""

from collections.abc import Sequence

Dialogue = tuple[str, ...]


def take_dialogues(dialogues: Sequence[Dialogue], line_count: int) -> list[Dialogue]:
    """Return dialogues with so many lines together; from the first on again when they run out."""
    taken: list[Dialogue] = []
    missing = line_count
    while missing > 0:
        for dialogue in dialogues:
            if missing <= 0:
                break
            taken.append(dialogue[:missing])
            missing -= len(dialogue)
    return taken
