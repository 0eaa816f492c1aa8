-- What the chassis keeps in every service's schema: events on their way out, events that were
-- handled, events that could not be, and the first answers of repeated requests.
-- {schema} is replaced by the service's name. Expand only: nothing reads these yet.

-- Events committed with the change that they tell of, until the broker has them.
CREATE TABLE {schema}.outbox (
    corp_id     text        NOT NULL,
    outbox_id   bigint      GENERATED ALWAYS AS IDENTITY,
    event_id    text        NOT NULL,
    key         text        NOT NULL,
    subject     text        NOT NULL,
    payload     bytea       NOT NULL,
    headers     jsonb       NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT outbox_pkey PRIMARY KEY (corp_id, outbox_id)
)
-- Rows live for milliseconds. Without this the relay reads past thousands of dead ones.
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

COMMENT ON COLUMN {schema}.outbox.corp_id IS 'Empty for events of no corp.';
COMMENT ON COLUMN {schema}.outbox.key IS
    'Events of one key are published in the order of outbox_id. Whoever inserts them holds the lock of the row that the key names, so that this is the order of the commits.';
COMMENT ON COLUMN {schema}.outbox.headers IS 'Trace context and request id of the call.';

-- The relay reads the oldest rows of all corps.
CREATE INDEX outbox_by_id ON {schema}.outbox (outbox_id);

-- The inbox: one row per event whose effect is committed here, written with that effect.
CREATE TABLE {schema}.handled_events (
    corp_id     text        NOT NULL,
    event_id    text        NOT NULL,
    handle_time timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT handled_events_pkey PRIMARY KEY (corp_id, event_id)
);

-- The purge of what the streams can no longer deliver.
CREATE INDEX handled_events_by_time ON {schema}.handled_events (handle_time);

-- Events that no attempt could handle, kept until somebody replays them.
CREATE TABLE {schema}.dead_letters (
    corp_id     text        NOT NULL,
    event_id    text        NOT NULL,
    subject     text        NOT NULL,
    payload     bytea       NOT NULL,
    headers     jsonb       NOT NULL,
    reason      text        NOT NULL,
    deliveries  bigint      NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT dead_letters_pkey PRIMARY KEY (corp_id, event_id)
);

-- The answer that a repeat of a request gets.
CREATE TABLE {schema}.first_answers (
    corp_id        text        NOT NULL,
    principal_id   text        NOT NULL,
    request_id     uuid        NOT NULL,
    method         text        NOT NULL,
    request_digest bytea       NOT NULL,
    response       bytea,
    create_time    timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT first_answers_pkey PRIMARY KEY (corp_id, principal_id, request_id)
);

COMMENT ON COLUMN {schema}.first_answers.method IS 'Full name of the request message.';
COMMENT ON COLUMN {schema}.first_answers.request_digest IS
    'SHA-256 of the request, to tell a repeat from another request under the same id.';
COMMENT ON COLUMN {schema}.first_answers.response IS
    'NULL only within the transaction that computes it.';
