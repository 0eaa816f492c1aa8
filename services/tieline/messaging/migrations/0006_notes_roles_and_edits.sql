-- What happens in a conversation has entries of its own in its log (notes), some of which do not
-- count as unread; messages are edited and recalled; groups have roles and settings, and people who
-- come may be shown what was said before or not. Expand only: the defaults are what held before.

ALTER TABLE messaging.conversations
    ADD COLUMN uncounted       bigint      NOT NULL DEFAULT 0,
    ADD COLUMN history_visible boolean     NOT NULL DEFAULT true,
    ADD COLUMN is_muted        boolean     NOT NULL DEFAULT false,
    ADD COLUMN posting         text        NOT NULL DEFAULT 'everyone',
    ADD COLUMN adding          text        NOT NULL DEFAULT 'everyone',
    ADD COLUMN notice          text        NOT NULL DEFAULT '',
    ADD COLUMN notice_time     timestamptz,
    ADD COLUMN dismiss_time    timestamptz;

ALTER TABLE messaging.conversations
    ADD CONSTRAINT conversations_posting_known
        CHECK (posting IN ('everyone', 'admins', 'owner')) NOT VALID,
    ADD CONSTRAINT conversations_adding_known
        CHECK (adding IN ('everyone', 'admins')) NOT VALID;

COMMENT ON COLUMN messaging.conversations.uncounted IS
    'How many entries so far do not count as unread: edits, recalls, reactions, pins, answers.';
COMMENT ON COLUMN messaging.conversations.history_visible IS
    'Whether people who come from now on see what was said before.';
COMMENT ON COLUMN messaging.conversations.posting IS 'Who may send.';
COMMENT ON COLUMN messaging.conversations.adding IS 'Who may add people.';

-- Apps talk with members in conversations of their own, one for each pair.
-- squawk-ignore ban-drop-constraint
ALTER TABLE messaging.conversations DROP CONSTRAINT conversations_kind_known;
ALTER TABLE messaging.conversations
    ADD CONSTRAINT conversations_kind_known
        CHECK (kind IN ('direct', 'group', 'customer_group', 'app')) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE messaging.conversations DROP CONSTRAINT conversations_direct_key_only_of_direct;
ALTER TABLE messaging.conversations
    ADD CONSTRAINT conversations_direct_key_only_of_pairs
        CHECK ((kind IN ('direct', 'app')) = (direct_key IS NOT NULL)) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE messaging.participants DROP CONSTRAINT participants_kind_known;
ALTER TABLE messaging.participants
    ADD CONSTRAINT participants_kind_known
        CHECK (kind IN ('member', 'customer', 'app')) NOT VALID;

ALTER TABLE messaging.participants
    ADD COLUMN visible_from_sequence bigint NOT NULL DEFAULT 0,
    ADD COLUMN role                  text   NOT NULL DEFAULT 'member';

ALTER TABLE messaging.participants
    ADD CONSTRAINT participants_role_known CHECK (role IN ('owner', 'admin', 'member')) NOT VALID;

COMMENT ON COLUMN messaging.participants.visible_from_sequence IS
    'The participant reads what has a higher number.';

-- Groups of before had no owner: whoever came first is theirs. Customer groups are made with their
-- owner alone in them.
UPDATE messaging.participants
   SET role = 'owner'
  FROM (
       SELECT DISTINCT ON (participants.corp_id, participants.conversation_id)
              participants.corp_id, participants.conversation_id, participants.kind,
              participants.id
         FROM messaging.participants
         JOIN messaging.conversations
           ON conversations.corp_id = participants.corp_id
          AND conversations.conversation_id = participants.conversation_id
        WHERE conversations.kind <> 'direct' AND participants.kind = 'member'
        ORDER BY participants.corp_id, participants.conversation_id, participants.join_time,
                 participants.id
  ) AS first
 WHERE participants.corp_id = first.corp_id
   AND participants.conversation_id = first.conversation_id
   AND participants.kind = first.kind
   AND participants.id = first.id;

-- All parts get them.
ALTER TABLE messaging.stored_messages
    ADD COLUMN uncounted        bigint NOT NULL DEFAULT 0,
    ADD COLUMN edit_time        timestamptz,
    ADD COLUMN recall_time      timestamptz,
    ADD COLUMN original_content bytea,
    ADD COLUMN edit_sequences   bigint[];

COMMENT ON COLUMN messaging.stored_messages.uncounted IS
    'How many entries of the conversation up to this one, itself included, do not count as unread.';
COMMENT ON COLUMN messaging.stored_messages.original_content IS
    'What it said before its first edit; NULL for never edited, and once it is recalled.';
COMMENT ON COLUMN messaging.stored_messages.edit_sequences IS
    'Numbers of its edits'' notes, which have what it said since.';
