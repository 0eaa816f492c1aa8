"""How Chinese names are read: every likely reading in letters, and their initials. Pure.

Of a polyphone all readings count, since nobody can tell from ``单`` whether Shan or Dan is meant.
Combinations are bounded: those of the most usual readings come first.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import product

from pypinyin.constants import PHRASES_DICT, PINYIN_DICT
from pypinyin.contrib.tone_convert import to_normal

# 4 of three characters: each with another reading of one character, or of two.
MAX_READINGS = 4

_MAX_CHARACTER_READINGS = 3

# What is longer is no person's name: the rest of it is found as it is written.
_MAX_CHARACTERS = 8

_CACHED_CHARACTERS = 16_384

# Readings that no word but a surname has.
_SURNAME_READINGS = {
    "万": "mo",
    "乜": "nie",
    "仇": "qiu",
    "区": "ou",
    "员": "yun",
    "单": "shan",
    "召": "shao",
    "尉": "yu",
    "折": "she",
    "朴": "piao",
    "查": "zha",
    "洗": "xian",
    "盖": "ge",
    "种": "chong",
    "秘": "bi",
    "繁": "po",
    "缪": "miao",
    "覃": "qin",
    "解": "xie",
    "黑": "he",
}


def is_han(character: str) -> bool:
    """Tell whether the character is a Chinese one."""
    return "\u3400" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff"


def list_readings(text: str) -> list[tuple[str, ...]]:
    """Return the text's readings, the most usual first: a syllable for each Chinese character.

    What is between Chinese characters is left out; a text without any has no reading.
    """
    characters = [character for character in text if is_han(character)][:_MAX_CHARACTERS]
    if not characters:
        return []
    choices = [_read_character(character) for character in characters]
    readings = sorted(_combine(choices), key=lambda ranked: ranked[0])[:MAX_READINGS]
    return [syllables for _, syllables in readings]


def _combine(choices: Sequence[Sequence[str]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the combinations, each with how unusual it is."""
    for ranks in product(*(range(len(readings)) for readings in _bound(choices))):
        syllables = (readings[rank] for readings, rank in zip(choices, ranks, strict=True))
        yield sum(ranks), tuple(syllables)


def _bound(choices: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Leave the first polyphones theirs: three of each make 27 combinations to choose from."""
    polyphones = 0
    bounded = []
    for readings in choices:
        polyphones += len(readings) > 1
        bounded.append(readings if polyphones <= 3 else readings[:1])
    return bounded


@lru_cache(maxsize=_CACHED_CHARACTERS)
def _read_character(character: str) -> tuple[str, ...]:
    """Return the character's readings, the most usual first."""
    counts = _count_readings()
    readings = dict.fromkeys(
        _to_letters(reading) for reading in PINYIN_DICT.get(ord(character), "").split(",")
    )
    # The dictionary has readings that no living word has: of a character that words have, they
    # are left out.
    used = [reading for reading in readings if counts[character, reading]]
    found = sorted(used or readings, key=lambda reading: -counts[character, reading])
    surname = _SURNAME_READINGS.get(character)
    if surname is not None:
        found = [*dict.fromkeys([*found[:1], surname, *found])]
    letters = (reading for reading in found if reading.isascii() and reading.isalpha())
    # A character without a known reading stands for itself.
    return tuple(letters)[:_MAX_CHARACTER_READINGS] or (character,)


# Some 1,500 syllables with their tones.
_to_letters = cache(to_normal)


@cache
def _count_readings() -> Counter[tuple[str, str]]:
    """Return in how many words of the phrase dictionary a character has a reading."""
    return Counter(
        (character, _to_letters(readings[0]))
        for phrase, syllables in PHRASES_DICT.items()
        for character, readings in zip(phrase, syllables, strict=False)
    )
