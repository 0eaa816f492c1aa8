"""Arrays that go to PostgreSQL as one text each, for the statements of hot paths.

The driver asks two abstract classes about each element of an array before it encodes it, which
takes five times as long as joining the elements here and splitting the text there.

Their length is hidden from the planner. If it saw that there is one element, a plan for one row
would look so much cheaper than the prepared one for any number that it would plan the statement
anew for each call, which takes longer than the statement.
"""

from collections.abc import Iterable, Sequence

# No id has it: ids are free of control characters.
_SEPARATOR = "\x1f"


def pack_texts(values: Sequence[str]) -> str:
    """Return the values as the parameter of :func:`unpack_texts`.

    ValueError for one that is empty or has the character U+001F: it would shift those behind it.
    """
    packed = _SEPARATOR.join(values)
    if "" in values or packed.count(_SEPARATOR) > max(len(values) - 1, 0):
        raise ValueError("a packed text is not empty and has no character U+001F")
    return packed


def unpack_texts(parameter: int) -> str:
    """Return the SQL of the ``text[]`` that parameter ``$parameter`` has."""
    return f"(SELECT string_to_array(${parameter}::text, E'\\x1f'))"


def pack_numbers(values: Iterable[int]) -> str:
    """Return the values as the parameter of :func:`unpack_numbers`."""
    return "{" + ",".join(map(str, values)) + "}"


def unpack_numbers(parameter: int) -> str:
    """Return the SQL of the ``bigint[]`` that parameter ``$parameter`` has."""
    return f"(SELECT ${parameter}::text::bigint[])"
