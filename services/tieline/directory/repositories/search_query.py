"""What is looked for by whom, and what the statements of a search ask of an entry for that viewer.

A viewer from whom fields are hidden is answered as if those were empty: what the entry has of them
neither finds the member nor moves it ahead. Decided in the statements, so that a page is full of
what the viewer gets: one that was cut afterwards would tell that something had been there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tieline.directory.repositories.viewers import PARAMETER_COUNT, parameters_of, visible
from tieline.directory.search.terms import MARKS, join_words, list_grams
from tieline.directory.visibility.decision import People, Viewer

# In the place of the marks where none is hidden: no field's, and no text's.
_NO_MARK = "\x1e"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions in SQL about ``entry``, a row of ``search_entries``."""

    seen: str
    """That the viewer sees the member."""

    hidden_marks: str
    """A text with the marks of the member's hidden fields; empty where nothing is ever hidden."""

    parameters: Sequence[object]
    """Values for those that the conditions name."""

    may_be_shown: str = "true"
    """That ``found.term`` is of no field that is hidden of everybody; decided without the entry."""

    marks_of_all: Sequence[object] = ()
    """Values for those that `may_be_shown` names, behind the others."""

    def shows_term(self, term: str) -> str:
        """Return that a term is of no hidden field."""
        return f"strpos({self.hidden_marks}, right({term}, 1)) = 0" if self.hidden_marks else "true"

    def holds(self, query: str) -> str:
        """Return that a text that is not hidden holds the query."""
        whole = f"strpos(entry.body, {query}) > 0"
        if not self.hidden_marks:
            return whole
        # A text and the mark that ends it; most entries are out before their body is taken apart.
        hidden = rf"'[^\x01-\x1f]*[' || {self.hidden_marks} || ']'"
        rest = f"regexp_replace(entry.body, {hidden}, '', 'g')"
        return f"({whole} AND strpos({rest}, {query}) > 0)"


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is looked for by whom."""

    viewer: Viewer
    text: str
    """Folded."""

    is_indexed: bool = True
    """Whether what finds members has the form of this program, for all of the corp."""

    @property
    def corp_id(self) -> str:
        """The viewer's corp."""
        return self.viewer.corp_id

    @property
    def joined(self) -> str:
        """What terms begin with."""
        return join_words(self.text)

    @property
    def held(self) -> str | None:
        """What texts may hold anywhere; None for what is looked for at beginnings alone."""
        return self.text if list_grams(self.corp_id, self.text) else None

    def conditions(self, first: int) -> Conditions:
        """Return the conditions for the viewer, whose parameters begin at ``first``."""
        if self.viewer.is_unlimited:
            return Conditions("true", "", ())
        seen = visible(first, user_id="entry.user_id", department_ids="entry.department_ids")
        hidden = {
            mark: people
            for name, mark in MARKS.items()
            if (people := self.viewer.list_hidden_people(name)) != People()
        }
        if not hidden:
            return Conditions(seen, "", parameters_of(self.viewer))
        return Conditions(
            seen,
            _list_marks(first, list(hidden)),
            (*parameters_of(self.viewer), *_list_ids(hidden.values())),
            _may_be_shown(first, first + PARAMETER_COUNT + 3 * len(hidden)),
            (self._marks_of_all(hidden),),
        )

    def _marks_of_all(self, hidden: Mapping[str, People]) -> list[str]:
        """Return the marks of fields that the viewer gets of nobody but by user id."""
        if self.viewer.full.department_ids or self.viewer.full.everybody:
            return []
        return [mark for mark, people in hidden.items() if people.everybody]


def _list_marks(first: int, marks: Sequence[str]) -> str:
    """Return SQL for the marks of an entry's hidden fields; nobody is hidden from themselves."""
    viewer, full_users, full_departments = (f"${first + number}" for number in range(3))
    hidden = []
    for index, mark in enumerate(marks):
        everybody, users, departments = (
            f"${first + PARAMETER_COUNT + 3 * index + number}" for number in range(3)
        )
        hidden.append(f"""
            CASE WHEN {everybody}::boolean OR entry.user_id = ANY({users}::text[])
                   OR entry.department_ids && {departments}::bigint[]
                 THEN E'\\x{ord(mark):02x}' END""")
    return f"""
        CASE WHEN entry.user_id = {viewer} OR entry.user_id = ANY({full_users}::text[])
               OR entry.department_ids && {full_departments}::bigint[]
             THEN E'\\x{ord(_NO_MARK):02x}'
             ELSE concat(E'\\x{ord(_NO_MARK):02x}', {",".join(hidden)}) END"""


def _may_be_shown(first: int, marks: int) -> str:
    return f"""(
        right(found.term, 1) <> ALL(${marks}::text[])
        OR found.user_id = ${first} OR found.user_id = ANY(${first + 1}::text[])
    )"""


def _list_ids(hidden: Iterable[People]) -> Iterator[object]:
    for people in hidden:
        yield people.everybody
        yield sorted(people.user_ids)
        yield sorted(people.department_ids)
