-- What finds messages, made behind the sends by their numbers. Expand only: nothing reads these yet;
-- what was stored before is made searchable by the searches of who reads it.

CREATE TABLE messaging.searchable_messages (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    create_time     timestamptz NOT NULL,
    sender_kind     text        COLLATE "C" NOT NULL,
    sender_id       text        COLLATE "C" NOT NULL,
    kind            text        NOT NULL,
    terms           tsvector    NOT NULL,

    -- The newest of a conversation that match, where many do.
    CONSTRAINT searchable_messages_pkey PRIMARY KEY (corp_id, conversation_id, sequence)
);

COMMENT ON TABLE messaging.searchable_messages IS
    'A row for each message with something to read in it, none for recalled ones.';
COMMENT ON COLUMN messaging.searchable_messages.kind IS 'Field of MessageContent.';
COMMENT ON COLUMN messaging.searchable_messages.terms IS
    'Made by the module search_terms; only leads to messages.';

-- Those that match, where few do.
CREATE INDEX searchable_messages_by_term ON messaging.searchable_messages USING gin (terms);

CREATE TABLE messaging.search_progress (
    corp_id          text   COLLATE "C" NOT NULL,
    conversation_id  text   COLLATE "C" NOT NULL,
    indexed_sequence bigint NOT NULL DEFAULT 0,

    CONSTRAINT search_progress_pkey PRIMARY KEY (corp_id, conversation_id)
)
WITH (fillfactor = 70);

COMMENT ON COLUMN messaging.search_progress.indexed_sequence IS
    'Everything up to this number is searchable. Its row''s lock orders the indexers.';
