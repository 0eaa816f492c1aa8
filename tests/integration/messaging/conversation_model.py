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
    reading_pb2,
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
_UNCOUNTED = ("edit_note", "recall_note", "reaction_note", "pin_note", "answer_note")

# Of these numbers are the messages that acts are about.
MAX_NUMBER = 12

# Not every try to dismiss is one: little happens behind it.
_FIRST_DISMISSING_NUMBER = 7

# What is said and changed; one may still read, leave, recall and keep a draft.
_NOT_WHEN_DISMISSED = (
    *("send", "edit", "react", "unreact", "ask", "answer", "add", "remove", "hide", "pin", "unpin"),
    "transfer",
)

acts = st.tuples(
    st.sampled_from(
        [
            *("send", "send", "edit", "recall", "react", "unreact", "ask", "answer"),
            *("add", "remove", "leave", "hide", "read", "read", "join", "draft"),
            *("pin", "unpin", "transfer", "dismiss"),
        ]
    ),
    st.sampled_from([OWNER, OWNER, *PEOPLE]),
    # Which message, or whom.
    st.integers(1, MAX_NUMBER),
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

    def shown_from(self, visible_from: int) -> str:
        """Return what it says to who sees what has higher numbers: nothing of an edit before."""
        is_hidden = self.kind == "edit_note" and self.about <= visible_from
        return "" if is_hidden else self.said


class Model:
    """What the rules say: a list of entries, and who is in since when."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.visible_from = dict.fromkeys((OWNER, *PEOPLE), 0)
        self.joined = dict(self.visible_from)
        self.read = dict(self.visible_from)
        self.shows_history = True
        self.owner = OWNER
        self.is_dismissed = False
        self.comings = dict(self.visible_from)
        """When who is in it came, as numbers that grow."""

        self.drafts = dict.fromkeys((OWNER, *PEOPLE), "")
        self.pins: list[int] = []
        self.reactions: set[tuple[int, str, str]] = set()
        self.answers: dict[tuple[int, str], str] = {}

    def apply(self, act: str, who: str, number: int, said: str) -> bool:
        """Do it; False where it is refused and changes nothing."""
        if act == "join":
            return self._join(who)
        if who not in self.visible_from or (self.is_dismissed and act in _NOT_WHEN_DISMISSED):
            return False
        whom = PEOPLE[number % len(PEOPLE)]
        match act:
            case "send":
                self.log.append(Entry(who, "text", said))
            case "ask":
                self.log.append(Entry(who, "quiz"))
            case "draft":
                self.drafts[who] = said if said == "yes" else ""
            case "read":
                return self._read(who, number)
            case "add" | "remove" | "leave" | "hide" | "transfer" | "dismiss":
                return self._arrange(act, who, whom, number)
            case _:
                return self._change(act, who, number, said)
        return True

    def _arrange(self, act: str, who: str, whom: str, number: int) -> bool:
        match act:
            case "add":
                self._add(who, whom)
                return True
            case "remove":
                return self._remove(who, whom)
            case "leave":
                return self._leave(who)
            case "hide":
                return self._hide(who)
            case "transfer":
                return self._transfer(who, whom)
            case _:
                return self._dismiss(who, number)

    def _add(self, who: str, whom: str) -> None:
        if whom not in self.visible_from:
            self.visible_from[whom] = 0 if self.shows_history else len(self.log)
            self.joined[whom] = self.comings[whom] = len(self.log)
            self.log.append(Entry(who, "participants_note"))

    def _join(self, who: str) -> bool:
        if self.is_dismissed:
            return False
        self._add(who, who)
        return True

    def _remove(self, who: str, whom: str) -> bool:
        if who != self.owner or who == whom:
            return False
        if self.visible_from.pop(whom, None) is not None:
            self.log.append(Entry(who, "participants_note"))
        return True

    def _leave(self, who: str) -> bool:
        del self.visible_from[who]
        self.log.append(Entry(who, "participants_note"))
        if who == self.owner and self.visible_from:
            self.owner = min(self.visible_from, key=lambda each: (self.comings[each], each))
            self.log.append(Entry(who, "roles_note"))
        elif who == self.owner and not self.is_dismissed:
            self.is_dismissed = True
            self.log.append(Entry(who, "dismiss_note"))
        return True

    def _transfer(self, who: str, whom: str) -> bool:
        if who != self.owner or whom not in self.visible_from:
            return False
        if whom != self.owner:
            self.owner = whom
            self.log.append(Entry(who, "roles_note"))
        return True

    def _dismiss(self, who: str, number: int) -> bool:
        if who != self.owner or number < _FIRST_DISMISSING_NUMBER:
            return False
        if not self.is_dismissed:
            self.is_dismissed = True
            self.log.append(Entry(who, "dismiss_note"))
        return True

    def _hide(self, who: str) -> bool:
        if who != self.owner:
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
            case "pin" | "unpin":
                return self._pin(who, number, is_removed=act == "unpin")
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
        if who not in (entry.sender, self.owner):
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

    def _pin(self, who: str, number: int, *, is_removed: bool) -> bool:
        if who != self.owner:
            return False
        if (number in self.pins) is is_removed:
            if is_removed:
                self.pins.remove(number)
            else:
                self.pins.append(number)
            self.log.append(Entry(who, "pin_note", about=number))
        return True

    def _react(self, who: str, number: int, said: str, *, is_removed: bool) -> None:
        reaction = (number, said, who)
        if (reaction in self.reactions) is is_removed:
            self.reactions ^= {reaction}
            self.log.append(Entry(who, "reaction_note", said, number))

    def standing_of(self, who: str) -> tuple[int, int, str] | None:
        """Return how much of it somebody has not read, up to where is read, and the draft."""
        if who not in self.visible_from:
            return None
        behind = self.log[max(self.read[who], self.joined[who]) :]
        unread = sum(entry.kind not in _UNCOUNTED for entry in behind)
        return unread, self.read[who], self.drafts[who]

    def stands(self, who: str, number: int) -> bool:
        """Return whether somebody who is in it sees a message of that number."""
        is_visible = self.visible_from[who] < number <= len(self.log)
        return is_visible and self.log[number - 1].kind in ("text", "quiz")

    def reactions_to(self, who: str, number: int) -> set[tuple[str, int, bool]] | None:
        """Return each reaction with its count and whether it is one's own; None for no message."""
        if not self.stands(who, number):
            return None
        people: dict[str, set[str]] = {}
        for about, reaction, person in self.reactions:
            if about == number:
                people.setdefault(reaction, set()).add(person)
        return {(each, len(those), who in those) for each, those in people.items()}

    def answers_to(self, who: str, number: int) -> tuple[int, int, str] | None:
        """Return how many chose yes and no, and what one chose; None for no question."""
        if not self.stands(who, number) or self.log[number - 1].kind != "quiz":
            return None
        given = [said for (about, _), said in self.answers.items() if about == number]
        return given.count("yes"), given.count("no"), self.answers.get((number, who), "")

    def pins_of(self, who: str) -> list[int]:
        """Return the pinned messages that somebody sees, the last pinned first."""
        return [number for number in reversed(self.pins) if self.stands(who, number)]

    def seen_by(self, who: str) -> list[Told] | None:
        """Return what ListMessages shows somebody; None for who is not in it."""
        if who not in self.visible_from:
            return None
        first = self.visible_from[who]
        return [
            Told(number, entry.sender, entry.kind, entry.shown_from(first), entry.about)
            for number, entry in enumerate(self.log, 1)
            if number > first
        ]


class Chat:
    """The same acts through the API, at alternating replicas."""

    def __init__(
        self, corp: Corp, group: str, channels: list[grpc.aio.Channel], groups: Groups
    ) -> None:
        self._group = group
        self._groups = groups
        self._code = ""
        self._stubs = [message_service_pb2_grpc.MessageServiceStub(each) for each in channels]
        self._reading = [reading_service_pb2_grpc.ReadingServiceStub(each) for each in channels]
        self._people = {
            name: corp.member(name, replica=index % 2)
            for index, name in enumerate((OWNER, *PEOPLE))
        }

    async def make_code(self) -> None:
        """Let the first owner make the code by which people come in."""
        owner = self._people[OWNER]
        made = await self._groups.call(
            owner, "CreateJoinCode", conversation_id=self._group, request_id=new_id()
        )
        self._code = made.join_code.code

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
        match act:
            case "send":
                await person.send(self._group, said)
            case "ask":
                await self._ask(person)
            case "draft":
                await self._save_draft(person, number, said if said == "yes" else "")
            case "read":
                await self._read(person, number)
            case "add" | "remove" | "join" | "leave" | "hide" | "transfer" | "dismiss":
                await self._arrange(act, person, number)
            case _:
                await self._change(act, person, number, said)

    async def _arrange(self, act: str, person: Person, number: int) -> None:
        group, whom = self._group, PEOPLE[number % len(PEOPLE)]
        match act:
            case "add":
                await self._groups.add(person, group, whom)
            case "remove":
                await self._groups.remove(person, group, whom)
            case "join":
                await self._groups.call(person, "JoinConversation", code=self._code)
            case "leave":
                await self._groups.call(person, "LeaveConversation", conversation_id=group)
            case "hide":
                await self._groups.change(
                    person, group, history_visible=False, paths=["history_visible"]
                )
            case "transfer":
                await self._groups.call(
                    person, "TransferConversation", conversation_id=group, user_id=whom
                )
            case _:
                if number < _FIRST_DISMISSING_NUMBER:
                    raise _refusal()
                await self._groups.call(person, "DismissConversation", conversation_id=group)

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

    async def _save_draft(self, person: Person, number: int, said: str) -> None:
        request = reading_service_pb2.SaveDraftRequest(
            corp_id=person.corp_id,
            conversation_id=self._group,
            draft=reading_pb2.Draft(text=said),
        )
        stub = self._reading[number % 2]
        await stub.SaveDraft(request, metadata=person.metadata, timeout=TIMEOUT_S)

    async def _change(self, act: str, person: Person, number: int, said: str) -> None:
        stub: Any = self._stubs[number % 2]
        calls: dict[str, tuple[str, dict[str, Any]]] = {
            "edit": ("EditMessage", {"content": text(said)}),
            "recall": ("RecallMessage", {}),
            "react": ("SetReaction", {"reaction": said}),
            "pin": ("SetPin", {}),
            "unpin": ("SetPin", {"removed": True}),
            "unreact": ("SetReaction", {"reaction": said, "removed": True}),
            "answer": (
                "AnswerMessage",
                {"choices": [message_service_pb2.AnswerChoice(option_keys=[said])]},
            ),
        }
        method, fields = calls[act]
        await self._call(person, method, sequence=number, **fields, stub=stub)

    async def _call(self, person: Person, method: str, *, stub: Any = None, **fields: Any) -> Any:
        request = getattr(message_service_pb2, f"{method}Request")(
            corp_id=person.corp_id, conversation_id=self._group, **fields
        )
        call = getattr(stub or self._stubs[0], method)
        return await call(request, metadata=person.metadata, timeout=TIMEOUT_S)

    async def reactions_to(self, who: str, number: int) -> set[tuple[str, int, bool]] | None:
        """Return what ListReactions says to somebody who is in it; None for no message."""
        try:
            listed = await self._call(self._people[who], "ListReactions", sequence=number)
        except grpc.aio.AioRpcError as error:
            _expect_refusal(error)
            return None
        return {(each.reaction, each.count, each.own) for each in listed.reactions}

    async def answers_to(self, who: str, number: int) -> tuple[int, int, str] | None:
        """Return what GetAnswers says to somebody who is in it; None for no question."""
        try:
            got = await self._call(self._people[who], "GetAnswers", sequence=number)
        except grpc.aio.AioRpcError as error:
            _expect_refusal(error)
            return None
        counts = {each.option_key: each.count for each in got.options}
        assert got.people == sum(counts.values()), "each chose one"
        own = [key for choice in got.own_choices for key in choice.option_keys]
        return counts["yes"], counts["no"], "".join(own)

    async def pins_of(self, who: str) -> list[int]:
        """Return what ListPins says to somebody who is in it."""
        listed = await self._call(self._people[who], "ListPins")
        return [message.sequence for message in listed.messages]

    async def seen_by(self, who: str) -> list[Told] | None:
        """Return what ListMessages shows somebody; None for who is told that there is nothing."""
        try:
            listed = await self._people[who].list_messages(self._group)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return None
        return [tell(message) for message in listed.messages]

    async def standing_of(self, who: str) -> tuple[int, int, str] | None:
        """Return what the list of conversations says; None for who is not in this one.

        How much is unread, up to where is read, and the draft.
        """
        listed = await self._people[who].list_conversations()
        for conversation in listed.conversations:
            if conversation.conversation_id == self._group:
                overview = conversation.overview
                state = overview.state
                return overview.unread_count, state.read_sequence, state.draft.text
        return None


def _expect_refusal(error: grpc.aio.AioRpcError) -> None:
    if error.code() not in _REFUSALS:
        raise error


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
        case "pin_note":
            about = message.content.pin_note.sequence
        case "answer_note":
            about = message.content.answer_note.sequence
    return Told(message.sequence, message.sender.id, kind, said, about)
