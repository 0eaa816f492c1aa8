"""The NATS subjects of live delivery. Pure, and the only module that puts ids into subjects."""

from functools import lru_cache

from tieline.messaging.conversations.rules import Participant

JOINS = "live.joins"
"""Who joined what, for all replicas: one subscription each, however many users are connected."""


PEOPLE = "live.people.>"
"""What concerns one person, for all replicas: most drop most of it by its subject alone."""


# Those who talk go on talking: some thousand conversations of a moment, 200 bytes each.
@lru_cache(maxsize=4096)
def build_conversation_subject(corp_id: str, conversation_id: str) -> str:
    """Return the subject on which a conversation's new messages are published."""
    return f"live.{_encode(corp_id)}.{_encode(conversation_id)}"


def build_person_subject(user: tuple[str, Participant]) -> str:
    """Return the subject on which a person's connected devices are told of the person's doing."""
    corp_id, participant = user
    return f"live.people.{_encode(corp_id)}.{participant.kind}.{_encode(participant.id)}"


def build_look_subject(corp_id: str, conversation_id: str) -> str:
    """Return the subject on which those who look at a conversation hear of each other."""
    return f"live.looks.{_encode(corp_id)}.{_encode(conversation_id)}"


def _encode(part: str) -> str:
    # Ids may hold dots, and nothing here relies on what else they hold: in hexadecimal no id adds
    # a token or is a wildcard.
    assert part, "a subject has no empty token"
    return part.encode().hex()
