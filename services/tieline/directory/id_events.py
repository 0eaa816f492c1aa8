"""Events that tell which things changed, by their ids and no more."""

from collections.abc import Sequence
from typing import Any

from tieline.chassis.outbox import Event, build_event
from tieline.directory.repositories import SCHEMA

# 64 bytes a user id and a few for framing: an eighth of what an event may have.
EVENT_IDS = 1000


def build_id_events(
    corp_id: str, name: str, message_type: Any, ids_field: str, ids: Sequence[Any]
) -> list[Event]:
    """Return as many events of one corp as the ids need; none without ids."""
    return [
        build_event(
            f"tieline.{SCHEMA}.v1.{name}",
            corp_id,
            corp_id,
            message_type(corp_id=corp_id, **{ids_field: ids[start : start + EVENT_IDS]}),
        )
        for start in range(0, len(ids), EVENT_IDS)
    ]
