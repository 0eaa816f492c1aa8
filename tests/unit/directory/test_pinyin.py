"""How names are read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.directory.search.pinyin import MAX_READINGS, list_readings


@pytest.mark.parametrize(
    ("name", "readings"),
    [
        ("王伟", ["wang wei"]),
        ("吕布", ["lv bu"]),
        ("李 小-明", ["li xiao ming"]),
        ("Anna王", ["wang"]),
        ("Anna", []),
        ("", []),
    ],
)
def test_name_is_read_syllable_by_syllable(name: str, readings: list[str]) -> None:
    assert [" ".join(syllables) for syllables in list_readings(name)] == readings


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("单雄信", "shan xiong xin"),
        ("单雄信", "dan xiong xin"),
        ("曾国藩", "zeng guo fan"),
        ("解珍", "xie zhen"),
        ("仇英", "qiu ying"),
        ("区明", "ou ming"),
        ("查良镛", "zha liang yong"),
        ("乐毅", "yue yi"),
        ("张重", "zhang chong"),
    ],
)
def test_polyphones_are_read_in_each_likely_way(name: str, reading: str) -> None:
    assert tuple(reading.split()) in list_readings(name)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=64))
def test_readings_of_any_text_are_few(text: str) -> None:
    readings = list_readings(text)

    assert len(readings) <= MAX_READINGS
    assert bool(readings) is bool(text)
