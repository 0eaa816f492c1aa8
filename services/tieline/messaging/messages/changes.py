"""Changes of messages that are there, in the caller's transaction, under their conversation's lock.

Each writes the message as it is from now on and the note that tells of it.
"""

from collections.abc import Sequence
from typing import Self

from tieline.api.messaging.v1 import (
    conversation_note_pb2,
    message_content_pb2,
    message_service_pb2,
    messaging_pb2,
)
from tieline.chassis.postgres import Connection
from tieline.messaging.app_messages import card_responses
from tieline.messaging.contents import choices
from tieline.messaging.contents.rules import is_note
from tieline.messaging.conversations.log import ConversationLog, Note
from tieline.messaging.conversations.rules import (
    Conversation,
    Participant,
    Role,
    conversation_not_found_error,
)
from tieline.messaging.groups.rules import find_content_refusal, find_refusal, require_going_on
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.media.uses import check_uses, list_media
from tieline.messaging.messages import change_rules as message_rules
from tieline.messaging.messages.rules import StoredMessage, message_to_proto
from tieline.messaging.repositories.choices import ChoiceRepository
from tieline.messaging.repositories.conversations import ConversationRepository
from tieline.messaging.repositories.media import MediaRepository
from tieline.messaging.repositories.message_changes import MessageChangeRepository
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.repositories.overviews import Mention, delete_mentions, insert_mentions
from tieline.messaging.repositories.participants import ParticipantRepository
from tieline.messaging.sending.numbering import ConversationKey, Counter
from tieline.messaging.sending.references import find_missing, list_meant, list_mentioned


class MessageChange:
    """A message whose conversation is locked, to be changed once."""

    def __init__(
        self,
        connection: Connection,
        announcer: Announcer,
        caller: Participant,
        conversation: Conversation,
        counter: Counter,
        message: StoredMessage,
    ) -> None:
        self._connection = connection
        self._announcer = announcer
        self._caller = caller
        self._conversation = conversation
        self._counter = counter
        self._message = message
        self._repository = MessageChangeRepository(connection)

    @classmethod
    async def begin(
        cls,
        connection: Connection,
        announcer: Announcer,
        key: ConversationKey,
        caller: Participant,
        sequence: int,
    ) -> Self:
        """Lock the conversation; NotFoundError for one, or a message, that the caller lacks."""
        conversation, counter = await _lock(connection, announcer, key, caller)
        message = await find_visible(connection, key, sequence, conversation.visible_from_sequence)
        return cls(connection, announcer, caller, conversation, counter, message)

    @property
    def _key(self) -> ConversationKey:
        return self._message.corp_id, self._message.conversation_id

    @property
    def task_id(self) -> str:
        """What names the card among those of its sender; empty for anything else."""
        return message_rules.read_content(self._message).template_card.task_id

    async def edit(self, content: messaging_pb2.MessageContent) -> messaging_pb2.Message:
        """Give the message other words; return it as it is now."""
        self._require_standing()
        self._require_posting()
        now = await MessageRepository(self._connection).read_clock()
        edits = await self._repository.list_edit_sequences(self._message)
        wanted = message_rules.check_edit(self._message, self._caller, content, now, len(edits))
        self._require_saying(wanted)
        await self._check_mentioned(wanted)
        await self._check_media(wanted)
        serialized = wanted.SerializeToString(deterministic=True)
        if serialized != self._message.content:
            await self._write_references(wanted)
            await self._write_edit(serialized)
        return await self._read_back()

    async def recall(self, *, was_in_time: bool = False) -> messaging_pb2.Message:
        """Take the message back; return it as it is now.

        ``was_in_time`` says that this was asked for before it was too late.
        """
        if self._message.recall_time is None:
            self._require_message()
            now = await MessageRepository(self._connection).read_clock()
            if was_in_time:
                now = self._message.create_time
            message_rules.check_recall(self._message, self._conversation, self._caller, now)
            edits = await self._repository.list_edit_sequences(self._message)
            await self._empty_edits(edits)
            note = conversation_note_pb2.RecallNote(sequence=self._message.sequence)
            stored = await self._tell(messaging_pb2.MessageContent(recall_note=note))
            await self._repository.recall(self._message, stored.create_time)
        return await self._read_back()

    async def set_reaction(self, reaction: str, *, is_removed: bool) -> None:
        """Put a reaction of the caller's on the message, or take it back."""
        self._require_standing()
        require_going_on(self._conversation)
        sequence = self._message.sequence
        own = await self._repository.list_own_reactions(self._key, sequence, self._caller)
        if (reaction in own) is not is_removed:
            return
        if is_removed:
            await self._repository.delete_reaction(self._key, sequence, reaction, self._caller)
        else:
            known = await self._repository.count_reactions(
                self._key, sequence, self._caller, maximum_people=1
            )
            names = [each.reaction for each in known]
            message_rules.check_room_for_reaction(reaction, own, names)
            await self._repository.insert_reaction(self._key, sequence, reaction, self._caller)
        note = conversation_note_pb2.ReactionNote(
            sequence=sequence, reaction=reaction, removed=is_removed
        )
        await self._tell(messaging_pb2.MessageContent(reaction_note=note))

    async def answer(self, given: Sequence[message_service_pb2.AnswerChoice]) -> None:
        """Choose for the caller, in place of what the caller chose before."""
        self._require_standing()
        require_going_on(self._conversation)
        question = choices.find_question(message_rules.read_content(self._message))
        chosen = choices.check_answer(question, given)
        repository = ChoiceRepository(self._connection, self._key, self._message.sequence)
        previous = await repository.find_answer(self._caller)
        if chosen == previous:
            return
        now = await MessageRepository(self._connection).read_clock()
        choices.check_answering(question, previous, now)
        await repository.replace_answer(self._caller, chosen)
        if not question.is_anonymous:
            note = conversation_note_pb2.AnswerNote(sequence=self._message.sequence)
            await self._tell(messaging_pb2.MessageContent(answer_note=note))
        if card_responses.is_told(self._message, question):
            told = choices.choices_to_proto(question, chosen)
            await card_responses.tell_app(self._connection, self._message, self._caller, told)

    async def press_menu(self, menu_key: str) -> None:
        """Tell the card's app which entry of its menu the caller pressed; it answers nothing."""
        self._require_standing()
        require_going_on(self._conversation)
        if not card_responses.is_card_of_app(self._message):
            raise message_rules.wrong_kind_error()
        content = message_rules.read_content(self._message)
        card_responses.check_menu_key(content.template_card, menu_key)
        await card_responses.tell_app(
            self._connection, self._message, self._caller, menu_key=menu_key
        )

    async def replace_card(
        self, card: message_content_pb2.TemplateCardContent
    ) -> messaging_pb2.Message:
        """Put another card in the place of the caller's; return the message as it is now."""
        self._require_standing()
        content = message_rules.read_content(self._message)
        if self._message.sender != self._caller or not content.HasField("template_card"):
            raise message_rules.wrong_kind_error()
        asked = choices.find_selections(content)
        content.template_card.CopyFrom(card)
        serialized = content.SerializeToString(deterministic=True)
        if serialized != self._message.content:
            edits = await self._repository.list_edit_sequences(self._message)
            if len(edits) >= message_rules.MAX_EDITS:
                raise message_rules.limit_error(message_rules.MAX_EDITS)
            await self._write_edit(serialized)
            if choices.find_selections(content) != asked:
                await ChoiceRepository(
                    self._connection, self._key, self._message.sequence
                ).delete_answers()
        return await self._read_back()

    def _require_message(self) -> None:
        content = message_rules.read_content(self._message)
        if is_note(content):
            raise message_rules.message_not_found_error(self._message.sequence)

    def _require_standing(self) -> None:
        """Refuse notes and what was taken back."""
        if not message_rules.is_message(self._message):
            raise message_rules.message_not_found_error(self._message.sequence)

    def _require_posting(self) -> None:
        """Refuse to say something else where the caller could say nothing."""
        require_going_on(self._conversation)
        settings = self._conversation.settings
        posting = settings.posting.value
        if settings.is_muted and posting == "everyone":
            posting = "admins"
        refusal = find_refusal((self._conversation.role or Role.MEMBER).value, posting)
        if refusal is not None:
            raise refusal

    def _require_saying(self, content: messaging_pb2.MessageContent) -> None:
        """Refuse to have it say what the caller could not send here."""
        refusal = find_content_refusal(
            self._conversation.kind,
            self._conversation.role or Role.MEMBER,
            is_notice=content.HasField("notice"),
            mentions_everyone=content.mentions.everyone,
        )
        if refusal is not None:
            raise refusal

    async def _check_mentioned(self, content: messaging_pb2.MessageContent) -> None:
        mentioned = list_mentioned(content)
        if mentioned:
            repository = ParticipantRepository(self._connection)
            places = await repository.filter_participants([(self._key, m) for m in mentioned])
            refusal = find_missing(self._key, mentioned, places)
            if refusal is not None:
                raise refusal

    async def _check_media(self, content: messaging_pb2.MessageContent) -> None:
        uses = list_media(content)
        if uses:
            user = (self._message.corp_id, self._caller)
            wanted = [(*user, use.media_id) for use in uses]
            readable = await MediaRepository(self._connection).lock_readable(wanted)
            refusal = check_uses(uses, readable.get(user, {}))
            if refusal is not None:
                raise refusal

    async def _write_references(self, content: messaging_pb2.MessageContent) -> None:
        """Note what the message refers to from now on.

        What it referred to before stays readable: ListEdits shows it to all who see the message. It
        goes with the message, or with its recall.
        """
        referring = self._message._replace(media=list_media(content))
        await MessageRepository(self._connection).insert_references([referring])
        meant = list_meant(content)
        if meant == list_meant(message_rules.read_content(self._message)):
            return
        sequence, create_time = self._message.sequence, self._message.create_time
        await delete_mentions(self._connection, self._key, sequence)
        # Of the message's time: they are looked up, and forgotten, with it.
        mentions = [Mention(*self._key, sequence, each, create_time) for each in sorted(meant)]
        if mentions:
            await insert_mentions(self._connection, mentions)

    async def _write_edit(self, content: bytes) -> None:
        note = conversation_note_pb2.EditNote(sequence=self._message.sequence, content=content)
        stored = await self._tell(messaging_pb2.MessageContent(edit_note=note))
        await self._repository.edit(self._message, content, stored.create_time, stored.sequence)

    async def _empty_edits(self, sequences: list[int]) -> None:
        """Take away what the notes of the message's edits tell."""
        notes = await self._repository.list_by_number(self._key, sequences)
        emptied = messaging_pb2.MessageContent(
            edit_note=conversation_note_pb2.EditNote(sequence=self._message.sequence)
        ).SerializeToString(deterministic=True)
        for note in notes.values():
            await self._repository.replace_content(note, emptied)

    async def _tell(self, content: messaging_pb2.MessageContent) -> StoredMessage:
        log = ConversationLog(self._connection, self._announcer)
        note = Note(self._key, self._caller, content)
        [stored] = await log.append([note], {self._key: self._counter})
        return stored

    async def _read_back(self) -> messaging_pb2.Message:
        sequence = self._message.sequence
        found = await self._repository.list_by_number(self._key, [sequence])
        return message_to_proto(found[sequence])


async def set_pin(
    connection: Connection,
    announcer: Announcer,
    key: ConversationKey,
    caller: Participant,
    sequence: int,
    *,
    is_removed: bool,
) -> None:
    """Pin a message, or no longer: also one that is gone meanwhile."""
    conversation, counter = await _lock(connection, announcer, key, caller)
    repository = MessageChangeRepository(connection)
    is_seen = conversation.visible_from_sequence < sequence < 2**63
    is_pinned = is_seen and await repository.has_pin(key, sequence)
    if not (is_pinned and is_removed):
        visible_from = conversation.visible_from_sequence
        message = await find_visible(connection, key, sequence, visible_from)
        if not message_rules.is_message(message):
            raise message_rules.message_not_found_error(sequence)
    require_going_on(conversation)
    message_rules.check_pinning(conversation)
    if is_pinned is not is_removed:
        return
    if is_removed:
        await repository.delete_pin(key, sequence)
    elif len(await repository.list_pins(key)) >= message_rules.MAX_PINS:
        raise message_rules.limit_error(message_rules.MAX_PINS)
    else:
        await repository.insert_pin(key, sequence)
    content = messaging_pb2.MessageContent(
        pin_note=conversation_note_pb2.PinNote(sequence=sequence, removed=is_removed)
    )
    log = ConversationLog(connection, announcer)
    await log.append([Note(key, caller, content)], {key: counter})


async def find_visible(
    connection: Connection, key: ConversationKey, sequence: int, visible_from_sequence: int
) -> StoredMessage:
    """Return an entry that somebody sees, or raise NotFoundError MESSAGE_NOT_FOUND."""
    found: dict[int, StoredMessage] = {}
    if 0 < sequence < 2**63 and sequence > visible_from_sequence:
        found = await MessageChangeRepository(connection).list_by_number(key, [sequence])
    if sequence not in found:
        raise message_rules.message_not_found_error(sequence)
    return found[sequence]


async def _lock(
    connection: Connection, announcer: Announcer, key: ConversationKey, caller: Participant
) -> tuple[Conversation, Counter]:
    counters = await ConversationLog(connection, announcer).lock([key])
    conversation = await ConversationRepository(connection).find_conversation_of(key, caller)
    if conversation is None:
        raise conversation_not_found_error(key[1])
    return conversation, counters[key]
