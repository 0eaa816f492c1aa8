"""What a message is found by, and what a query looks for. Pure.

Of scripts without spaces between words each pair of neighbours is a term, and the last character
of a run alone: so one character finds the pairs that begin with it. Of the others each word is one,
and what a query has of a word finds the words that begin with it. Terms only lead to messages:
whether a message holds what is looked for is decided on the message itself.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add

MAX_QUERY_CHARACTERS = 128

# A word of more is found by its beginning.
MAX_TERM_CHARACTERS = 32

# A message of more different terms is found by the first of them: 8 KiB of Chinese have 2,700.
MAX_TERMS = 4000

# More words than anybody looks for at once; the rest is compared with the messages alone.
_MAX_QUERY_TERMS = 16

# Scripts that put no spaces between words: Thai and its like, Han and kana, and Han's extensions.
_DENSE = "\u0e00-\u0eff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

_DENSE_CHARACTER = re.compile(f"[{_DENSE}]")
_RUN = re.compile(rf"(?:[{_DENSE}](?<=\w))+|[^\W{_DENSE}]+")


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term that a message must have."""

    text: str
    is_beginning: bool
    """Whether a term that begins with it is one too."""


def fold(text: str) -> str:
    """Return the text as texts and queries are compared."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).casefold()


def list_terms(texts: Sequence[str]) -> list[str]:
    """Return the terms of a message, each once, in order."""
    terms: dict[str, None] = {}
    for text in texts:
        for run, is_dense in _list_runs(fold(text)):
            if not is_dense:
                terms[run[:MAX_TERM_CHARACTERS]] = None
            else:
                terms.update(dict.fromkeys(map(add, run, run[1:])))
                terms[run[-1]] = None
        if len(terms) >= MAX_TERMS:
            break
    return sorted(list(terms)[:MAX_TERMS])


def list_query_terms(query: str) -> list[QueryTerm]:
    """Return what a message must have to hold the query; nothing for a query of signs alone."""
    terms: dict[QueryTerm, None] = {}
    for run, is_dense in _list_runs(fold(query)):
        if not is_dense:
            terms[QueryTerm(run[:MAX_TERM_CHARACTERS], is_beginning=True)] = None
        elif len(run) == 1:
            terms[QueryTerm(run, is_beginning=True)] = None
        else:
            for start in range(len(run) - 1):
                terms[QueryTerm(run[start : start + 2], is_beginning=False)] = None
    return list(terms)[:_MAX_QUERY_TERMS]


def list_words(query: str) -> list[str]:
    """Return the parts of a query each of which a message must hold."""
    return fold(query).split()


def matches(texts: Sequence[str], words: Sequence[str]) -> bool:
    """Tell whether the texts hold all the words, those of letters at the beginning of a word."""
    folded = "\n".join(map(fold, texts))
    return all(_holds(folded, word) for word in words)


def _holds(text: str, word: str) -> bool:
    start = text.find(word)
    while start >= 0:
        if start == 0 or not (_is_spaced(word[0]) and _is_spaced(text[start - 1])):
            return True
        start = text.find(word, start + 1)
    return False


def _list_runs(folded: str) -> Iterator[tuple[str, bool]]:
    """Yield runs of characters of one sort, and whether they are of a script without spaces."""
    for run in _RUN.findall(folded):
        yield run, _is_dense(run[0])


def _is_spaced(character: str) -> bool:
    return _RUN.match(character) is not None and not _is_dense(character)


def _is_dense(character: str) -> bool:
    return _DENSE_CHARACTER.match(character) is not None
