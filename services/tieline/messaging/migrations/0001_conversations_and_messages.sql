-- Conversations, who is in them, and what was said. Expand only: nothing reads these yet.

CREATE TABLE messaging.conversations (
    corp_id            text        COLLATE "C" NOT NULL,
    conversation_id    text        COLLATE "C" NOT NULL,
    kind               text        NOT NULL,
    name               text        NOT NULL DEFAULT '',
    direct_key         text        COLLATE "C",
    last_sequence      bigint      NOT NULL DEFAULT 0,
    last_activity_time timestamptz NOT NULL DEFAULT now(),
    create_time        timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT conversations_pkey PRIMARY KEY (corp_id, conversation_id),
    CONSTRAINT conversations_direct_key_unique UNIQUE (corp_id, direct_key),
    CONSTRAINT conversations_kind_known CHECK (kind IN ('direct', 'group', 'customer_group')),
    CONSTRAINT conversations_direct_key_only_of_direct
        CHECK ((kind = 'direct') = (direct_key IS NOT NULL))
)
-- Every batch of messages updates the row. No index has the columns that change, so with room left
-- on the page the update touches the page alone.
WITH (fillfactor = 60);

COMMENT ON COLUMN messaging.conversations.direct_key IS
    'Names the pair of a direct conversation, so that each pair has one; NULL for other kinds.';
COMMENT ON COLUMN messaging.conversations.last_sequence IS
    'Number of the newest message. Its row''s lock orders the senders: whoever numbers messages holds it.';
COMMENT ON COLUMN messaging.conversations.last_activity_time IS
    'create_time of the newest message, or else of the conversation.';

CREATE TABLE messaging.participants (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    kind            text        COLLATE "C" NOT NULL,
    id              text        COLLATE "C" NOT NULL,
    join_time       timestamptz NOT NULL DEFAULT now(),
    joined_sequence bigint      NOT NULL,

    CONSTRAINT participants_pkey PRIMARY KEY (corp_id, conversation_id, kind, id),
    CONSTRAINT participants_kind_known CHECK (kind IN ('member', 'customer')),
    CONSTRAINT participants_conversation_fkey FOREIGN KEY (corp_id, conversation_id)
        REFERENCES messaging.conversations (corp_id, conversation_id)
);

COMMENT ON COLUMN messaging.participants.id IS 'User id in lower case, or customer id.';
COMMENT ON COLUMN messaging.participants.joined_sequence IS
    'last_sequence of the conversation when the participant joined.';

-- ListConversations, and what a subscriber receives.
CREATE INDEX participants_by_principal
    ON messaging.participants (corp_id, kind, id, conversation_id);

-- No foreign key to conversations: a row is inserted only under the lock of its conversation's row,
-- and a check per message would cost as much as the insert.
CREATE TABLE messaging.messages (
    corp_id           text        COLLATE "C" NOT NULL,
    conversation_id   text        COLLATE "C" NOT NULL,
    sequence          bigint      NOT NULL,
    sender_kind       text        COLLATE "C" NOT NULL,
    sender_id         text        COLLATE "C" NOT NULL,
    client_message_id text        COLLATE "C" NOT NULL,
    content           bytea       NOT NULL,
    create_time       timestamptz NOT NULL,

    CONSTRAINT messages_pkey PRIMARY KEY (corp_id, conversation_id, sequence),
    -- Finds repeats; a repeat that slipped past the lock would fail here.
    CONSTRAINT messages_client_message_id_unique
        UNIQUE (corp_id, conversation_id, sender_kind, sender_id, client_message_id),
    CONSTRAINT messages_sequence_positive CHECK (sequence > 0)
);

COMMENT ON COLUMN messaging.messages.content IS
    'Serialized tieline.api.messaging.v1.MessageContent.';
