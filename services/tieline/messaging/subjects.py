"""The NATS subjects of live delivery. Pure, and the only module that puts ids into subjects."""

JOINS = "live.joins"
"""Who joined what, for all replicas: one subscription each, however many users are connected."""


def build_conversation_subject(corp_id: str, conversation_id: str) -> str:
    """Return the subject on which a conversation's new messages are published."""
    return f"live.{_encode(corp_id)}.{_encode(conversation_id)}"


def _encode(part: str) -> str:
    # Ids may hold dots, and nothing here relies on what else they hold: in hexadecimal no id adds
    # a token or is a wildcard.
    assert part, "a subject has no empty token"
    return part.encode().hex()
