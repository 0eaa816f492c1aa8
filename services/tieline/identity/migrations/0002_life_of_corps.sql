-- Corps that are suspended or on their way out, and their requests to be verified.
-- Expand only: the code before knows none of the columns, all of which have defaults.

ALTER TABLE identity.corps
    ADD COLUMN change_number       bigint NOT NULL DEFAULT 0,
    ADD COLUMN suspend_time        timestamptz,
    ADD COLUMN suspend_reason      text NOT NULL DEFAULT '',
    ADD COLUMN delete_request_time timestamptz,
    ADD COLUMN purge_time          timestamptz,
    ADD COLUMN delete_time         timestamptz,
    ADD COLUMN session_floor_time  timestamptz;

COMMENT ON COLUMN identity.corps.change_number IS 'The corp''s etag: one more with each change.';
COMMENT ON COLUMN identity.corps.suspend_time IS 'NULL unless the corp is suspended.';
COMMENT ON COLUMN identity.corps.delete_request_time IS 'NULL unless the deletion was asked for.';
COMMENT ON COLUMN identity.corps.purge_time IS 'When the time of grace ends and the purge begins.';
COMMENT ON COLUMN identity.corps.delete_time IS
    'When the purge was done. The row stays, without name and owner: its id never comes back.';
COMMENT ON COLUMN identity.corps.session_floor_time IS
    'Sessions opened before it are over: one column ends them all, however many there are.';

-- ListCorps, the newest first.
CREATE INDEX corps_by_create_time ON identity.corps (create_time, corp_id);
-- The purge.
CREATE INDEX corps_by_purge_time ON identity.corps (purge_time) WHERE delete_time IS NULL;

CREATE TABLE identity.verification_requests (
    corp_id                 text        NOT NULL,
    verification_request_id uuid        NOT NULL,
    display_name            text        NOT NULL,
    evidence                text        NOT NULL,
    registration_number     text        NOT NULL,
    media_ids               text[]      NOT NULL,
    requester_user_id       text        NOT NULL,
    state                   text        NOT NULL DEFAULT 'open',
    create_time             timestamptz NOT NULL DEFAULT now(),
    decide_time             timestamptz,
    reviewer                text        NOT NULL DEFAULT '',
    reject_reason           text        NOT NULL DEFAULT '',

    CONSTRAINT verification_requests_pkey PRIMARY KEY (corp_id, verification_request_id),
    CONSTRAINT verification_requests_corp FOREIGN KEY (corp_id) REFERENCES identity.corps (corp_id),
    CONSTRAINT verification_requests_state
        CHECK (state IN ('open', 'approved', 'rejected', 'withdrawn'))
);

COMMENT ON COLUMN identity.verification_requests.display_name IS
    'The corp''s name when it asked; another name withdraws the request.';
COMMENT ON COLUMN identity.verification_requests.reviewer IS
    'Name of the platform administrator who decided; empty until then.';

-- A corp has one open request at most.
CREATE UNIQUE INDEX verification_requests_open ON identity.verification_requests (corp_id)
    WHERE state = 'open';
-- ListVerificationRequests over all corps, the oldest first.
CREATE INDEX verification_requests_by_create_time
    ON identity.verification_requests (create_time, verification_request_id);
