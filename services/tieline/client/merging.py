"""Which messages a client may show, in which order, and which it must fetch. Pure.

Messages come from two sides, live and by range, in any order and more than once. What comes out of
here is, for each conversation, every message once, in order of its number.
"""

from collections.abc import Mapping

from tieline.api.messaging.v1 import messaging_pb2


class MessageMerge:
    """Holds, for each conversation, the number up to which everything has come out."""

    def __init__(self, held: Mapping[str, int]) -> None:
        self._held = dict(held)

    @property
    def held(self) -> Mapping[str, int]:
        """Conversation id to the number up to which nothing is missing."""
        return dict(self._held)

    def held_sequence(self, conversation_id: str) -> int:
        """Return the number up to which nothing is missing; 0 for an unknown conversation."""
        return self._held.get(conversation_id, 0)

    def is_missing(self, conversation_id: str, last_sequence: int) -> bool:
        """Tell whether a conversation has messages that have not come out."""
        return last_sequence > self.held_sequence(conversation_id)

    def accept(self, message: messaging_pb2.Message) -> bool:
        """Take the next message of its conversation; False for one that came out before.

        A message after a gap must not be given: fetch from ``held_sequence`` on first.
        """
        held = self.held_sequence(message.conversation_id)
        assert message.sequence <= held + 1, "the messages before this one are fetched first"
        if message.sequence <= held:
            return False
        # Moved to the end: the order is that of the latest message.
        self._held.pop(message.conversation_id, None)
        self._held[message.conversation_id] = message.sequence
        return True

    def begin_at(self, conversation_id: str, sequence: int) -> None:
        """Take everything up to a number as come out: what comes before it can't be read."""
        if sequence > self.held_sequence(conversation_id):
            self._held[conversation_id] = sequence

    def forget(self, conversation_id: str) -> None:
        """Begin with the conversation's first message should it come back."""
        self._held.pop(conversation_id, None)

    def is_after_gap(self, message: messaging_pb2.Message) -> bool:
        """Tell whether messages before this one are missing."""
        return message.sequence > self.held_sequence(message.conversation_id) + 1
