import re

from hypothesis import given
from hypothesis import strategies as st

from tieline.messaging.live.subjects import JOINS, build_conversation_subject

ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)


@given(corp_id=ids, conversation_id=ids)
def test_no_id_widens_its_subject(corp_id: str, conversation_id: str) -> None:
    subject = build_conversation_subject(corp_id, conversation_id)

    assert re.fullmatch(r"live\.[0-9a-f]+\.[0-9a-f]+", subject)
    assert subject != JOINS


@given(one=st.tuples(ids, ids), other=st.tuples(ids, ids))
def test_each_conversation_has_a_subject_of_its_own(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    same = build_conversation_subject(*one) == build_conversation_subject(*other)

    assert same is (one == other)
