"""What people do in a conversation, by a simple model and through the API."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
from hypothesis import strategies as st

from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from integration.messaging.groups import Groups
from tieline.api.messaging.v1 import (
    message_content_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
    messaging_service_pb2,
    reading_service_pb2,
    reading_service_pb2_grpc,
)

OWNER = "owner"
PEOPLE = ("ann", "ben", "cem")

_REFUSALS = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
)

# Notes that do not count as unread.
_UNCOUNTED = ("edit_note", "recall_note", "reaction_note", "answer_note")

acts = st.tuples(
    st.sampled_from(
        [
            *("send", "send", "edit", "recall", "react", "unreact", "ask", "answer"),
            *("add", "remove", "leave", "hide", "read", "read"),
        ]
    ),
    st.sampled_from([OWNER, *PEOPLE]),
    # Which message, or whom.
    st.integers(1, 12),
    st.sampled_from(["yes", "no"]),
)


class Told(NamedTuple):
    """An entry as somebody sees it."""

    number: int
    sender: str
    kind: str
    said: str
    about: int


@dataclass
class Entry:
    """One entry of the log: who, what kind, what it says, which entry it is about."""

    sender: str
    kind: str
    said: str = ""
    about: int = 0
    edits: list[int] = field(default_factory=list)


class Model:
    """What the rules say: a list of entries, and who is in since when."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.visible_from = dict.fromkeys((OWNER, *PEOPLE), 0)
        self.joined = dict(self.visible_from)
        self.read = dict(self.visible_from)
        self.shows_history = True
        self.reactions: set[tuple[int, str, str]] = set()
        self.answers: dict[tuple[int, str], str] = {}

    def apply(self, act: str, who: str, number: int, said: str) -> bool:
        """Do it; False where it is refused and changes nothing."""
        if who not in self.visible_from:
            return False
        whom = PEOPLE[number % len(PEOPLE)]
        match act:
            case "send":
                self.log.append(Entry(who, "text", said))
            case "ask":
                self.log.append(Entry(who, "quiz"))
            case "add":
                self._add(who, whom)
            case "remove":
                return self._remove(who, whom)
            case "leave":
                return self._leave(who)
            case "hide":
                return self._hide(who)
            case "read":
                return self._read(who, number)
            case _:
                return self._change(act, who, number, said)
        return True

    def _add(self, who: str, whom: str) -> None:
        if whom not in self.visible_from:
            self.visible_from[whom] = 0 if self.shows_history else len(self.log)
            self.joined[whom] = len(self.log)
            self.log.append(Entry(who, "participants_note"))

    def _remove(self, who: str, whom: str) -> bool:
        if who != OWNER:
            return False
        if self.visible_from.pop(whom, None) is not None:
            self.log.append(Entry(who, "participants_note"))
        return True

    def _leave(self, who: str) -> bool:
        # The owner stays, so that there is somebody to remove others.
        if who == OWNER:
            return False
        del self.visible_from[who]
        self.log.append(Entry(who, "participants_note"))
        return True

    def _hide(self, who: str) -> bool:
        if who != OWNER:
            return False
        if self.shows_history:
            self.shows_history = False
            self.log.append(Entry(who, "settings_note"))
        return True

    def _read(self, who: str, number: int) -> bool:
        if number > len(self.log):
            return False
        self.read[who] = max(self.read[who], number)
        return True

    def _change(self, act: str, who: str, number: int, said: str) -> bool:
        is_visible = self.visible_from[who] < number <= len(self.log)
        entry = self.log[number - 1] if is_visible else None
        if act == "recall" and entry is not None and entry.kind == "recalled":
            return True
        if entry is None or entry.kind not in ("text", "quiz"):
            return False
        match act:
            case "edit":
                return self._edit(who, number, entry, said)
            case "recall":
                return self._recall(who, number, entry)
            case "answer":
                return self._answer(who, number, entry, said)
            case _:
                self._react(who, number, said, is_removed=act == "unreact")
                return True

    def _edit(self, who: str, number: int, entry: Entry, said: str) -> bool:
        if entry.sender != who or entry.kind != "text":
            return False
        if entry.said != said:
            entry.said = said
            self.log.append(Entry(who, "edit_note", said, number))
            entry.edits.append(len(self.log))
        return True

    def _recall(self, who: str, number: int, entry: Entry) -> bool:
        if who not in (entry.sender, OWNER):
            return False
        entry.kind, entry.said = "recalled", ""
        for edit in entry.edits:
            self.log[edit - 1].said = ""
        self.log.append(Entry(who, "recall_note", about=number))
        return True

    def _answer(self, who: str, number: int, entry: Entry, said: str) -> bool:
        if entry.kind != "quiz":
            return False
        if self.answers.get((number, who)) != said:
            self.answers[number, who] = said
            self.log.append(Entry(who, "answer_note", about=number))
        return True

    def _react(self, who: str, number: int, said: str, *, is_removed: bool) -> None:
        reaction = (number, said, who)
        if (reaction in self.reactions) is is_removed:
            self.reactions ^= {reaction}
            self.log.append(Entry(who, "reaction_note", said, number))

    def count_unread(self, who: str) -> int:
        """Return how much of it somebody who is in it has not read."""
        behind = self.log[max(self.read[who], self.joined[who]) :]
        return sum(entry.kind not in _UNCOUNTED for entry in behind)

    def seen_by(self, who: str) -> list[Told] | None:
        """Return what ListMessages shows somebody; None for who is not in it."""
        if who not in self.visible_from:
            return None
        return [
            Told(number, entry.sender, entry.kind, entry.said, entry.about)
            for number, entry in enumerate(self.log, 1)
            if number > self.visible_from[who]
        ]


class Chat:
    """The same acts through the API, at alternating replicas."""

    def __init__(
        self, corp: Corp, group: str, channels: list[grpc.aio.Channel], groups: Groups
    ) -> None:
        self._group = group
        self._groups = groups
        self._stubs = [message_service_pb2_grpc.MessageServiceStub(each) for each in channels]
        self._reading = [reading_service_pb2_grpc.ReadingServiceStub(each) for each in channels]
        self._people = {
            name: corp.member(name, replica=index % 2)
            for index, name in enumerate((OWNER, *PEOPLE))
        }

    async def apply(self, act: str, who: str, number: int, said: str) -> bool:
        """Do it; False where it is refused."""
        while True:
            try:
                await self._act(act, self._people[who], number, said)
            except grpc.aio.AioRpcError as error:
                if error.code() in _REFUSALS:
                    return False
                # On a busy machine the directory's answer may take too long; nothing was done then.
                if act != "add" or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            else:
                return True

    async def _act(self, act: str, person: Person, number: int, said: str) -> None:
        whom = PEOPLE[number % len(PEOPLE)]
        match act:
            case "send":
                await person.send(self._group, said)
            case "ask":
                await self._ask(person)
            case "add":
                await self._groups.add(person, self._group, whom)
            case "remove":
                # Nobody removes themselves; the model's non-owners may not remove anybody.
                if person.id == whom:
                    raise _refusal()
                await self._groups.remove(person, self._group, whom)
            case "leave":
                if person.id == OWNER:
                    raise _refusal()
                await self._groups.call(person, "LeaveConversation", conversation_id=self._group)
            case "hide":
                await self._groups.change(
                    person, self._group, history_visible=False, paths=["history_visible"]
                )
            case "read":
                await self._read(person, number)
            case _:
                await self._change(act, person, number, said)

    async def _ask(self, person: Person) -> None:
        options = [message_content_pb2.QuizOption(key=key, text=key) for key in ("yes", "no")]
        asked = message_content_pb2.QuizContent(question="?", options=options, changeable=True)
        request = messaging_service_pb2.SendMessageRequest(
            corp_id=person.corp_id,
            conversation_id=self._group,
            client_message_id=new_id(),
            content=messaging_pb2.MessageContent(quiz=asked),
        )
        await person.stub.SendMessage(request, metadata=person.metadata, timeout=TIMEOUT_S)

    async def _read(self, person: Person, number: int) -> None:
        request = reading_service_pb2.MarkReadRequest(
            corp_id=person.corp_id, conversation_id=self._group, read_sequence=number
        )
        stub = self._reading[number % 2]
        await stub.MarkRead(request, metadata=person.metadata, timeout=TIMEOUT_S)

    async def _change(self, act: str, person: Person, number: int, said: str) -> None:
        stub: Any = self._stubs[number % 2]
        calls: dict[str, tuple[str, dict[str, Any]]] = {
            "edit": ("EditMessage", {"content": text(said)}),
            "recall": ("RecallMessage", {}),
            "react": ("SetReaction", {"reaction": said}),
            "unreact": ("SetReaction", {"reaction": said, "removed": True}),
            "answer": (
                "AnswerMessage",
                {"choices": [message_service_pb2.AnswerChoice(option_keys=[said])]},
            ),
        }
        method, fields = calls[act]
        request = getattr(message_service_pb2, f"{method}Request")(
            corp_id=person.corp_id, conversation_id=self._group, sequence=number, **fields
        )
        await getattr(stub, method)(request, metadata=person.metadata, timeout=TIMEOUT_S)

    async def seen_by(self, who: str) -> list[Told] | None:
        """Return what ListMessages shows somebody; None for who is told that there is nothing."""
        try:
            listed = await self._people[who].list_messages(self._group)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return None
        return [tell(message) for message in listed.messages]

    async def count_unread(self, who: str) -> int | None:
        """Return what the list of conversations says; None for who is not in this one."""
        listed = await self._people[who].list_conversations()
        unread = {each.conversation_id: each.overview.unread_count for each in listed.conversations}
        return unread.get(self._group)


def _refusal() -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.PERMISSION_DENIED, nothing, nothing)


def tell(message: messaging_pb2.Message) -> Told:
    """Return what a message or note says."""
    kind = message.content.WhichOneof("kind") or "recalled"
    said, about = message.content.text.text, 0
    match kind:
        case "edit_note":
            note = message.content.edit_note
            said = messaging_pb2.MessageContent.FromString(note.content).text.text
            about = note.sequence
        case "recall_note":
            about = message.content.recall_note.sequence
        case "reaction_note":
            said = message.content.reaction_note.reaction
            about = message.content.reaction_note.sequence
        case "answer_note":
            about = message.content.answer_note.sequence
    return Told(message.sequence, message.sender.id, kind, said, about)
