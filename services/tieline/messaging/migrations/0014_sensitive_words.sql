-- Words that a corp's people may not say, or that its compliance officers want to see. Expand only.

CREATE TABLE messaging.sensitive_word_sets (
    corp_id     text        COLLATE "C" NOT NULL,
    version     bigint      NOT NULL,
    update_time timestamptz NOT NULL,

    CONSTRAINT sensitive_word_sets_pkey PRIMARY KEY (corp_id)
);

COMMENT ON TABLE messaging.sensitive_word_sets IS
    'One row for each corp that ever had words. Its lock orders their changes; replicas look for a new version.';

CREATE TABLE messaging.sensitive_words (
    corp_id text COLLATE "C" NOT NULL,
    word    text COLLATE "C" NOT NULL,
    action  text NOT NULL,

    CONSTRAINT sensitive_words_pkey PRIMARY KEY (corp_id, word),
    CONSTRAINT sensitive_words_action_known CHECK (action IN ('block', 'flag'))
);

COMMENT ON COLUMN messaging.sensitive_words.word IS
    'As it is compared: width and case folded, without spaces.';

-- Written in the transaction that stores the message.
CREATE TABLE messaging.flagged_messages (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    sender_kind     text        COLLATE "C" NOT NULL,
    sender_id       text        COLLATE "C" NOT NULL,
    words           text[]      NOT NULL,
    message_time    timestamptz NOT NULL,

    CONSTRAINT flagged_messages_pkey PRIMARY KEY (corp_id, conversation_id, sequence)
);

-- The list, the newest first.
CREATE INDEX flagged_messages_by_time
    ON messaging.flagged_messages (corp_id, message_time, conversation_id, sequence);
