"""What a member is found by, and what a query looks for. Pure.

A search asks for four things, the closest first, and stops when it has a page:

    0  terms that begin with the query: name, alias, their readings and initials, user id, mobile,
       e-mail address, work e-mail address
    1  terms of later parts: a given name, the second word of a name, what follows a dot
    2  texts that hold the query anywhere: name, alias, user id, mobile, position, local parts of
       the e-mail addresses
    3  members of departments whose path holds it (no concern of this module)

Terms 0 and 1 stand in an ordered index, so that any number of matches costs no more than a page.
They have no blanks, and no more has the query for them: names are read as one word, and written as
two.
Texts are found by their grams: single characters and pairs of scripts without letters, three in a
row of ASCII letters and digits. Fewer than three of those are looked for at beginnings alone.

Each department of a member has a gram too, by which all members of a few departments are found.

What comes of a field that can be hidden ends with the field's mark, in terms as in texts: a viewer
from whom it is hidden is answered as if the field were empty, order and pages included.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tieline.directory.members.rules import fold
from tieline.directory.search.pinyin import is_han, list_readings

FORM = 4
"""Which form the entries have: a greater number has every member's made anew."""

BEGINNING = "0"
LATER_PART = "1"

MARKS: Mapping[str, str] = MappingProxyType(
    {"alias": "\x01", "position": "\x02", "mobile": "\x03", "email": "\x04", "biz_email": "\x05"}
)
"""Of the searched fields that can be hidden. Control characters, which no query has."""

# Ends the texts of the other fields.
_SEPARATOR = "\x1f"

_ENDS = frozenset({_SEPARATOR, *MARKS.values()})

# In code-point order behind everything that a term goes on with.
_LAST_CHARACTER = "\U0010ffff"

# More parts than a name of a person has; a bound for texts that are none.
_MAX_LATER_PARTS = 8

_GRAM_CHARACTERS = 3

# Of a vowel that keyboards have in different places; no other syllable has a v.
_SPELLINGS_OF_U_UMLAUT = ("v", "u", "ü")

_ASCII_RUN = re.compile(r"[0-9a-z]{3,}")
_LATER_WORD = re.compile(r"(?<=[\W_])\w")


@dataclass(frozen=True, slots=True)
class SearchedMember:
    """The fields of a member that a search looks at."""

    user_id: str
    name: str
    alias: str
    position: str
    mobile: str
    email: str
    biz_email: str


@dataclass(frozen=True, slots=True)
class SearchEntry:
    """What is stored of a member for searches."""

    terms: tuple[str, ...]
    """Each begins with `BEGINNING` or `LATER_PART`."""

    text: str
    grams: tuple[int, ...]
    place: int
    """A place in an order that has nothing to do with any field: the first so many of it are a fair
    sample of all."""


def build_entry(
    corp_id: str, member: SearchedMember, department_ids: Iterable[int] = ()
) -> SearchEntry:
    """Return what finds the member of these departments."""
    text = "".join(fold(field) + end for field, end in _list_texts(member) if field)
    return SearchEntry(
        terms=tuple(sorted(set(map(join_words, _list_terms(member))))),
        text=text,
        grams=tuple(
            sorted({*list_grams(corp_id, text), *list_department_grams(corp_id, department_ids)})
        ),
        place=_hash(member.user_id, 0),
    )


def matches(member: SearchedMember, folded_query: str) -> bool:
    """Tell whether any field of the member, as it is given here, is found by the query."""
    entry = build_entry("", member)
    joined = join_words(folded_query)
    begins = (BEGINNING + joined, LATER_PART + joined)
    return folded_query in entry.text or any(term.startswith(begins) for term in entry.terms)


def list_grams(corp_id: str, text: str) -> tuple[int, ...]:
    """Return the numbers of the text's grams; the corp's are no other corp's.

    Two grams may have one number: what they find is compared with the query itself.
    """
    seed = zlib.crc32(corp_id.encode())
    return tuple(sorted({_hash(gram, seed) for gram in _list_gram_texts(text)}))


def list_department_grams(corp_id: str, department_ids: Iterable[int]) -> list[int]:
    """Return the number that members of each of these departments have among their grams."""
    seed = zlib.crc32(corp_id.encode())
    # No gram of a text has a separator in it.
    return [_hash(f"{_SEPARATOR}{department_id}", seed) for department_id in department_ids]


def join_words(text: str) -> str:
    """Return a term, or a query for terms, without blanks and with its accents composed."""
    return unicodedata.normalize("NFC", "".join(text.split()))


def range_of(part: str, joined_query: str) -> tuple[str, str]:
    """Return from which term on, and below which, terms of ``part`` begin with the query."""
    return part + joined_query, part + joined_query + _LAST_CHARACTER


def _list_texts(member: SearchedMember) -> Iterator[tuple[str, str]]:
    """Yield each text that may hold a query, with what ends it."""
    yield member.name, _SEPARATOR
    yield member.user_id, _SEPARATOR
    for name in ("alias", "mobile", "position"):
        yield getattr(member, name), MARKS[name]
    for name in ("email", "biz_email"):
        local_part = getattr(member, name).partition("@")[0]
        if local_part.lower() != member.user_id:
            yield local_part, MARKS[name]


def _list_terms(member: SearchedMember) -> Iterator[str]:
    yield from _list_name_terms(fold(member.name))
    yield BEGINNING + member.user_id
    yield from (LATER_PART + word for word in _list_later_words(member.user_id))
    for term in _list_name_terms(fold(member.alias)):
        yield term + MARKS["alias"]
    for name in ("mobile", "email", "biz_email"):
        if value := getattr(member, name):
            yield BEGINNING + fold(value) + MARKS[name]


def _list_name_terms(name: str) -> Iterator[str]:
    if not name:
        return
    yield BEGINNING + name
    yield from (LATER_PART + word for word in _list_later_words(name))
    for index, character in enumerate(name[:_MAX_LATER_PARTS]):
        if index and is_han(character):
            yield LATER_PART + name[index:]
    for syllables in list_readings(name):
        initials = "".join(syllable[0] for syllable in syllables)
        for index in range(min(len(syllables), _MAX_LATER_PARTS)):
            part = LATER_PART if index else BEGINNING
            yield from (part + spelling for spelling in _spell("".join(syllables[index:])))
            # One initial is the beginning of its syllable.
            if index < len(syllables) - 1:
                yield part + initials[index:]


def _spell(reading: str) -> Iterable[str]:
    if "v" not in reading:
        return (reading,)
    return (reading.replace("v", letter) for letter in _SPELLINGS_OF_U_UMLAUT)


def _list_later_words(text: str) -> Iterator[str]:
    starts = [match.start() for match in _LATER_WORD.finditer(text)]
    # The words of a Chinese name are its characters.
    return (text[start:] for start in starts[:_MAX_LATER_PARTS] if not is_han(text[start]))


def _list_gram_texts(text: str) -> Iterator[str]:
    for run in _ASCII_RUN.findall(text):
        for start in range(len(run) - _GRAM_CHARACTERS + 1):
            yield run[start : start + _GRAM_CHARACTERS]
    previous = ""
    for character in text:
        if character in _ENDS or (character.isascii() and character.isalnum()):
            previous = ""
            continue
        yield character
        if previous:
            yield previous + character
        previous = character


def _hash(text: str, seed: int) -> int:
    """Return a signed number of 32 bits."""
    return zlib.crc32(text.encode(), seed) - 2**31
