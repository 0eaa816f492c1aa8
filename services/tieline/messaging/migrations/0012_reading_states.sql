-- How people stand to conversations: what they have read, muted, pinned and begun to write; and whom
-- messages mention. Expand only: nothing reads these yet.

CREATE TABLE messaging.reading_states (
    corp_id              text        COLLATE "C" NOT NULL,
    kind                 text        COLLATE "C" NOT NULL,
    id                   text        COLLATE "C" NOT NULL,
    conversation_id      text        COLLATE "C" NOT NULL,
    read_sequence        bigint      NOT NULL DEFAULT 0,
    read_uncounted       bigint      NOT NULL DEFAULT 0,
    delivered_sequence   bigint      NOT NULL DEFAULT 0,
    muted                boolean     NOT NULL DEFAULT false,
    mute_until_time      timestamptz,
    pin_time             timestamptz,
    draft                text        NOT NULL DEFAULT '',
    draft_reply_sequence bigint      NOT NULL DEFAULT 0,
    draft_time           timestamptz,
    revision             bigint      NOT NULL,

    -- A person's states, and one person's in a conversation. Those of all in a conversation are looked
    -- up one by one: as many as it has participants.
    CONSTRAINT reading_states_pkey PRIMARY KEY (corp_id, kind, id, conversation_id)
)
-- Changed whenever somebody reads. No index has the columns that change.
WITH (fillfactor = 70);

COMMENT ON TABLE messaging.reading_states IS
    'A row is made by its first change and stays when its person leaves; whoever reads it joins the participants.';
COMMENT ON COLUMN messaging.reading_states.read_uncounted IS
    'stored_messages.uncounted of the message read_sequence.';
COMMENT ON COLUMN messaging.reading_states.mute_until_time IS 'NULL for no end.';
COMMENT ON COLUMN messaging.reading_states.draft IS 'Empty for none.';
COMMENT ON COLUMN messaging.reading_states.revision IS 'Number of the person''s change that made it what it is.';

CREATE TABLE messaging.user_revisions (
    corp_id  text   COLLATE "C" NOT NULL,
    kind     text   COLLATE "C" NOT NULL,
    id       text   COLLATE "C" NOT NULL,
    revision bigint NOT NULL DEFAULT 0,

    CONSTRAINT user_revisions_pkey PRIMARY KEY (corp_id, kind, id)
)
WITH (fillfactor = 70);

COMMENT ON COLUMN messaging.user_revisions.revision IS
    'Number of the newest change of the person''s reading states. Its row''s lock orders them.';

CREATE TABLE messaging.mentions (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    kind            text        COLLATE "C" NOT NULL,
    id              text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    create_time     timestamptz NOT NULL,

    -- Counts those of one person, and those of everyone, behind what the person has read.
    CONSTRAINT mentions_pkey PRIMARY KEY (corp_id, conversation_id, kind, id, sequence)
);

COMMENT ON TABLE messaging.mentions IS
    'Whom messages mention, kept for 180 days. Inserted with the message, deleted with its recall.';
COMMENT ON COLUMN messaging.mentions.kind IS
    'Kind of the participant, or ''everyone'' with an empty id.';

-- The purge.
CREATE INDEX mentions_by_time ON messaging.mentions (create_time);
