"""Attributes and profiles are written into cells, and read from them as they were."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.directory.v1 import directory_pb2
from tieline.directory.imports.attribute_cells import (
    CELL_KINDS,
    read_profile,
    write_cell,
    write_profile,
)

TITLES = st.text(alphabet="ab王|\\/:;,\"' 🙂", min_size=1, max_size=16)
TAILS = st.text(alphabet="abz09/?&=|\\%#", max_size=40)
LINKS = st.one_of(
    st.builds(
        lambda title, tail: {"web": {"url": f"https://x{tail}", "title": title}}, TITLES, TAILS
    ),
    st.builds(
        lambda title, path: {
            "mini_program": {"app_id": "wx_1"}
            | ({"page_path": path} if path else {})
            | {"title": title}
        },
        TITLES,
        TAILS,
    ),
)


@given(value=LINKS)
def test_link_is_read_from_its_cell_as_it_was(value: dict[str, Any]) -> None:
    [kind] = value

    assert CELL_KINDS[kind].read(write_cell(value)) == value


@pytest.mark.parametrize(
    ("kind", "cell", "is_right"),
    [
        pytest.param("web", "Blog|https://a.cn", True, id="web"),
        pytest.param("web", "https://a.cn", False, id="without a title"),
        pytest.param("web", "|https://a.cn", False, id="empty title"),
        pytest.param("web", "a" * 16 + "|http://a", True, id="title of 16"),
        pytest.param("web", "a" * 17 + "|http://a", False, id="title of 17"),
        pytest.param("web", r"\|" * 16 + "|http://a", True, id="title of 16 bars"),
        pytest.param("web", r"\|" * 17 + "|http://a", False, id="title of 17 bars"),
        pytest.param("web", "a|ftp://a.cn", False, id="another scheme"),
        pytest.param("web", "a|https://王", False, id="beyond ASCII"),
        pytest.param("web", "a|http://" + "a" * 505, True, id="address of 512"),
        pytest.param("web", "a|http://" + "a" * 506, False, id="address of 513"),
        pytest.param("web", "a|http://", False, id="no address"),
        pytest.param("mini_program", "Shop|wx1|pages/a", True, id="mini-program"),
        pytest.param("mini_program", "Shop|wx1|", True, id="first page"),
        pytest.param("mini_program", "Shop|wx1", False, id="without a page"),
        pytest.param("mini_program", "Shop|wx.1|", False, id="no app id"),
        pytest.param("mini_program", "Shop|" + "w" * 65 + "|", False, id="app id of 65"),
        pytest.param("mini_program", "Shop|wx1|" + "p" * 257, False, id="path of 257"),
    ],
)
def test_cell_of_a_link_keeps_the_rules_of_the_api(kind: str, cell: str, is_right: bool) -> None:
    assert (CELL_KINDS[kind].read(cell) is not None) is is_right


def test_profile_is_read_from_its_cell_as_it_was() -> None:
    profile = directory_pb2.ExternalProfile(corp_name="金玉", channel_nickname="shop")
    profile.attributes.add(name="Blog").web.url = "https://a.cn"
    profile.attributes[0].web.title = "Blog"

    cell = write_profile(profile.SerializeToString().hex())

    stored = read_profile(cell)
    assert stored is not None
    assert directory_pb2.ExternalProfile.FromString(bytes.fromhex(stored)) == profile
    assert json.loads(cell)["corp_name"] == "金玉"


@pytest.mark.parametrize(
    ("cell", "is_right"),
    [
        pytest.param("", True, id="empty"),
        pytest.param("{}", True, id="nothing in it"),
        pytest.param('{"corpName": "A"}', True, id="names of JSON"),
        pytest.param(json.dumps({"corp_name": "a" * 64}), True, id="64 characters"),
        pytest.param(json.dumps({"corp_name": "a" * 65}), False, id="65 characters"),
        pytest.param('{"corp": "A"}', False, id="unknown field"),
        pytest.param('{"corp_name": 1}', False, id="no text"),
        pytest.param('{"attributes": [{"name": "A"}]}', False, id="attribute without a value"),
        pytest.param("A", False, id="no JSON"),
        pytest.param('"A"', False, id="no object"),
        pytest.param("{", False, id="never closes"),
        pytest.param("[" * 60_000, False, id="deep"),
        pytest.param('{"corp_name": "\\ud800"}', False, id="half a character"),
    ],
)
def test_cell_of_a_profile_keeps_the_rules_of_the_api(cell: str, is_right: bool) -> None:
    assert (read_profile(cell) is not None) is is_right


@given(cell=st.text(alphabet='{}[]":,a1\\ue_ntl', max_size=40))
def test_any_cell_is_a_profile_or_none(cell: str) -> None:
    stored = read_profile(cell)

    if stored:
        json_format.Parse(write_profile(stored), directory_pb2.ExternalProfile())
