-- Reactions on messages and pinned messages. Expand only: nothing reads these yet.

CREATE TABLE messaging.reactions (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    reaction        text        COLLATE "C" NOT NULL,
    kind            text        COLLATE "C" NOT NULL,
    id              text        COLLATE "C" NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT reactions_pkey
        PRIMARY KEY (corp_id, conversation_id, sequence, reaction, kind, id)
);

COMMENT ON TABLE messaging.reactions IS 'Who reacted to which message, written under its conversation''s lock.';

CREATE TABLE messaging.pins (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT pins_pkey PRIMARY KEY (corp_id, conversation_id, sequence)
);

COMMENT ON TABLE messaging.pins IS 'Pinned messages, written under their conversation''s lock.';
