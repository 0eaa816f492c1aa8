-- What people choose in quizzes and template cards. Expand only: nothing reads this yet.

CREATE TABLE messaging.answer_choices (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    kind            text        COLLATE "C" NOT NULL,
    id              text        COLLATE "C" NOT NULL,
    -- Empty for quizzes and buttons.
    selection_key   text        COLLATE "C" NOT NULL,
    option_key      text        COLLATE "C" NOT NULL,

    CONSTRAINT answer_choices_pkey
        PRIMARY KEY (corp_id, conversation_id, sequence, kind, id, selection_key, option_key)
);

COMMENT ON TABLE messaging.answer_choices IS
    'The newest answer of each person to a message, a row for each option chosen; written under its conversation''s lock.';
