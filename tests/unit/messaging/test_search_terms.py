import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.messaging.search.terms import (
    MAX_TERM_CHARACTERS,
    QueryTerm,
    list_query_terms,
    list_terms,
    list_words,
    matches,
)

ALPHABET = "ab1 项目进度。あプ,ＡÉé'\\"


def leads_to(query: str, text: str) -> bool:
    """Tell whether the terms of the query are found among those of the text, as the index does."""
    terms = list_terms([text])
    return all(
        any(
            term.startswith(each.text) if each.is_beginning else term == each.text for term in terms
        )
        for each in list_query_terms(query)
    )


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        pytest.param("项目进度很好", "进", True, id="one character"),
        pytest.param("项目进度很好", "好", True, id="the last character"),
        pytest.param("项目进度很好", "目进度", True, id="in the middle"),
        pytest.param("项目的进度", "项目进度", False, id="not side by side"),
        pytest.param("项目。进度", "目进", False, id="a sign between them"),
        pytest.param("Quarterly Report", "rep", True, id="the beginning of a word"),
        pytest.param("Quarterly Report", "port", False, id="not the end of a word"),
        pytest.param("Quarterly Report", "REPORT quarterly", True, id="words in any order"),
        pytest.param("Report 2026版本", "2026版", True, id="scripts side by side"),
        pytest.param("ＡＢＣ", "abc", True, id="another width"),
        pytest.param("a.b@c.example", "c.exam", True, id="signs within"),
        pytest.param("hello", "hello world", False, id="one word is missing"),
    ],
)
def test_message_is_found_by_what_it_holds(text: str, query: str, expected: bool) -> None:
    found = leads_to(query, text) and matches([text], list_words(query))

    assert found is expected


@given(st.text(ALPHABET, max_size=20), st.text(ALPHABET, min_size=1, max_size=6))
def test_terms_lead_to_every_message_that_holds_the_query(text: str, query: str) -> None:
    if list_query_terms(query) and matches([text], list_words(query)):
        assert leads_to(query, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Ab c1_d", ["ab", "c1_d"], id="words"),
        pytest.param("abあ度c", ["ab", "c", "あ度", "度"], id="scripts side by side"),
        pytest.param("度。ก", ["ก", "度"], id="a sign of the script between them"),
        pytest.param("\u2e7f度\U00020000\u0dffก", ["ก", "度\U00020000", "\U00020000"], id="bounds"),
    ],
)
def test_scripts_without_spaces_have_pairs(text: str, expected: list[str]) -> None:
    assert list_terms([text]) == sorted(expected)


def test_query_of_signs_alone_has_no_terms() -> None:
    assert list_query_terms("。!? '") == []


def test_long_word_is_found_by_its_beginning() -> None:
    word = "x" * (MAX_TERM_CHARACTERS + 5)

    assert list_terms([word]) == [word[:MAX_TERM_CHARACTERS]]
    assert list_query_terms(word) == [QueryTerm(word[:MAX_TERM_CHARACTERS], is_beginning=True)]


@given(st.text(max_size=50))
def test_terms_have_neither_quotes_nor_spaces(text: str) -> None:
    for term in [*list_terms([text]), *(each.text for each in list_query_terms(text))]:
        assert term.isprintable()
        assert not set(term) & set("'\\: \n&|!()*")
