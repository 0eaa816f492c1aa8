-- What apps send to many, and the codes with which they update cards. Expand only: nothing reads
-- this yet.

CREATE TABLE messaging.app_message_jobs (
    corp_id         text        COLLATE "C" NOT NULL,
    job_id          text        COLLATE "C" NOT NULL,
    app_id          text        COLLATE "C" NOT NULL,
    audience        bytea       NOT NULL,
    invalid         bytea       NOT NULL,
    content         bytea       NOT NULL,
    digest          bytea       NOT NULL,
    state           text        NOT NULL DEFAULT 'sending',
    is_listed       boolean     NOT NULL DEFAULT false,
    last_user_id    text        COLLATE "C" NOT NULL DEFAULT '',
    recipient_count bigint      NOT NULL DEFAULT 0,
    sent_count      bigint      NOT NULL DEFAULT 0,
    failed_count    bigint      NOT NULL DEFAULT 0,
    recalled_count  bigint      NOT NULL DEFAULT 0,
    card_version    bigint      NOT NULL DEFAULT 0,
    outdated_count  bigint      NOT NULL DEFAULT 0,
    failure         bytea,
    has_work        boolean     NOT NULL DEFAULT true,
    turn_time       timestamptz NOT NULL DEFAULT now(),
    claimed_until   timestamptz NOT NULL DEFAULT '-infinity',
    create_time     timestamptz NOT NULL DEFAULT now(),
    finish_time     timestamptz,

    CONSTRAINT app_message_jobs_pkey PRIMARY KEY (corp_id, job_id),
    CONSTRAINT app_message_jobs_state_known
        CHECK (state IN ('sending', 'sent', 'recalling', 'recalled', 'failed')),
    CONSTRAINT app_message_jobs_failure_only_of_failed
        CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT app_message_jobs_counts_within_recipients
        CHECK (recalled_count <= sent_count AND outdated_count BETWEEN 0 AND sent_count
               AND sent_count + failed_count <= recipient_count)
);

COMMENT ON COLUMN messaging.app_message_jobs.audience IS
    'Serialized tieline.api.messaging.v1.AppMessageAudience.';
COMMENT ON COLUMN messaging.app_message_jobs.invalid IS
    'Serialized tieline.api.messaging.v1.InvalidAudience.';
COMMENT ON COLUMN messaging.app_message_jobs.content IS
    'Serialized tieline.api.messaging.v1.MessageContent; empty once it is recalled.';
COMMENT ON COLUMN messaging.app_message_jobs.digest IS 'SHA-256 of audience and content.';
COMMENT ON COLUMN messaging.app_message_jobs.is_listed IS
    'Whether all of the audience is in app_message_recipients; else up to last_user_id.';
COMMENT ON COLUMN messaging.app_message_jobs.card_version IS
    'How often the content was replaced by another card.';
COMMENT ON COLUMN messaging.app_message_jobs.failure IS
    'Serialized tieline.api.messaging.v1.SendError.';
COMMENT ON COLUMN messaging.app_message_jobs.turn_time IS
    'When its last turn ended. Jobs have turns, so that none waits for the end of another.';
COMMENT ON COLUMN messaging.app_message_jobs.claimed_until IS
    'Until then a replica works on it, or it is put off. What a turn does is decided under the row''s lock; the claim only spares double work.';

-- What has work to do, of all corps, whose turn was longest ago first: each replica looks every second.
CREATE INDEX app_message_jobs_with_work
    ON messaging.app_message_jobs (turn_time)
    WHERE has_work;

-- An app's jobs, the newest first; and those with work.
CREATE INDEX app_message_jobs_by_app ON messaging.app_message_jobs (corp_id, app_id, job_id);

-- What is old enough to be forgotten.
CREATE INDEX app_message_jobs_by_age ON messaging.app_message_jobs (create_time);

CREATE TABLE messaging.app_message_recipients (
    corp_id         text        COLLATE "C" NOT NULL,
    job_id          text        COLLATE "C" NOT NULL,
    user_id         text        COLLATE "C" NOT NULL,
    app_id          text        COLLATE "C" NOT NULL,
    state           text        NOT NULL DEFAULT 'waiting',
    conversation_id text        COLLATE "C" NOT NULL DEFAULT '',
    sequence        bigint      NOT NULL DEFAULT 0,
    card_version    bigint      NOT NULL DEFAULT 0,
    error           bytea,
    plan_time       timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT app_message_recipients_pkey PRIMARY KEY (corp_id, job_id, user_id),
    CONSTRAINT app_message_recipients_state_known
        CHECK (state IN ('waiting', 'sent', 'failed', 'recalled')),
    CONSTRAINT app_message_recipients_error_only_of_failed
        CHECK ((state = 'failed') = (error IS NOT NULL)),
    CONSTRAINT app_message_recipients_job FOREIGN KEY (corp_id, job_id)
        REFERENCES messaging.app_message_jobs (corp_id, job_id) ON DELETE CASCADE
);

COMMENT ON COLUMN messaging.app_message_recipients.error IS
    'Serialized tieline.api.messaging.v1.SendError.';
COMMENT ON COLUMN messaging.app_message_recipients.card_version IS
    'The job''s when the message got its content.';

-- A job's recipients with work to do, or that failed.
CREATE INDEX app_message_recipients_by_state
    ON messaging.app_message_recipients (corp_id, job_id, state, user_id);

-- How many messages a member got of an app within the last hour.
CREATE INDEX app_message_recipients_by_member
    ON messaging.app_message_recipients (corp_id, app_id, user_id, plan_time);

CREATE TABLE messaging.card_response_codes (
    corp_id         text        COLLATE "C" NOT NULL,
    response_code   text        COLLATE "C" NOT NULL,
    app_id          text        COLLATE "C" NOT NULL,
    -- Of a job, for everybody whom it reached, the other columns being empty; else of an answer.
    job_id          text        COLLATE "C" NOT NULL DEFAULT '',
    conversation_id text        COLLATE "C" NOT NULL DEFAULT '',
    sequence        bigint      NOT NULL DEFAULT 0,
    user_id         text        COLLATE "C" NOT NULL DEFAULT '',
    response        bytea       NOT NULL DEFAULT '',
    create_time     timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT card_response_codes_pkey PRIMARY KEY (corp_id, response_code)
);

COMMENT ON TABLE messaging.card_response_codes IS
    'Codes that are good; one that is used is deleted.';
COMMENT ON COLUMN messaging.card_response_codes.response IS
    'Serialized tieline.api.messaging.v1.CardResponse without code and times.';

-- An app's answers that wait for it, the oldest first.
CREATE INDEX card_response_codes_by_app
    ON messaging.card_response_codes (corp_id, app_id, create_time, response_code);

-- The code of a member's answer to a card, which another answer replaces.
CREATE INDEX card_response_codes_by_message
    ON messaging.card_response_codes (corp_id, conversation_id, sequence)
    WHERE conversation_id <> '';

-- What has expired.
CREATE INDEX card_response_codes_by_age ON messaging.card_response_codes (create_time);
