-- Imports that run when their caller is gone: the files, how far each is, what was wrong with them.
-- Expand only: nothing reads these yet.

CREATE TABLE directory.import_jobs (
    corp_id               text        NOT NULL,
    job_id                text        COLLATE "C" NOT NULL,
    state                 text        NOT NULL,
    options               jsonb       NOT NULL,
    creator_kind          text        NOT NULL,
    creator_id            text        NOT NULL,
    range_ids             bigint[]    NOT NULL,
    file_bytes            bigint      NOT NULL,
    total_rows            bigint      NOT NULL DEFAULT 0,
    totals                jsonb       NOT NULL DEFAULT '{}',
    checked_change_number bigint,
    failure               jsonb,
    attempts              bigint      NOT NULL DEFAULT 0,
    lease_holder          text        NOT NULL DEFAULT '',
    lease_until           timestamptz NOT NULL DEFAULT '-infinity',
    create_time           timestamptz NOT NULL DEFAULT now(),
    start_time            timestamptz,
    finish_time           timestamptz,

    CONSTRAINT import_jobs_pkey PRIMARY KEY (corp_id, job_id),
    CONSTRAINT import_jobs_corp FOREIGN KEY (corp_id) REFERENCES directory.corps (corp_id),
    CONSTRAINT import_jobs_state
        CHECK (state IN ('waiting', 'running', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT import_jobs_finished_has_time
        CHECK ((state IN ('waiting', 'running')) = (finish_time IS NULL))
);

COMMENT ON COLUMN directory.import_jobs.job_id IS
    'A UUIDv7: in the order of creation. Also the import_id of the members that it writes.';
COMMENT ON COLUMN directory.import_jobs.range_ids IS
    'The departments that the creator administered; empty for the whole corp.';
COMMENT ON COLUMN directory.import_jobs.totals IS
    'What is committed so far, written in the transaction of each batch: where the next attempt goes on.';
COMMENT ON COLUMN directory.import_jobs.checked_change_number IS
    'The corp''s last change when the guard against mass deletion let the job pass; NULL before.';
COMMENT ON COLUMN directory.import_jobs.attempts IS
    'Replicas that took it since it last got on; a job that kills each of them is given up.';
COMMENT ON COLUMN directory.import_jobs.lease_until IS
    'Until then the holder alone works on it; each of its transactions extends that.';

-- One job of a corp runs at a time; two would replace each other's members.
CREATE UNIQUE INDEX import_jobs_one_running ON directory.import_jobs (corp_id)
    WHERE state = 'running';

-- The next job to take, of any corp.
CREATE INDEX import_jobs_unfinished ON directory.import_jobs (lease_until, job_id)
    WHERE state IN ('waiting', 'running');

-- The file of a job until it is finished, in pieces.
CREATE TABLE directory.import_chunks (
    corp_id      text   NOT NULL,
    job_id       text   COLLATE "C" NOT NULL,
    chunk_number bigint NOT NULL,
    content      bytea  NOT NULL,

    CONSTRAINT import_chunks_pkey PRIMARY KEY (corp_id, job_id, chunk_number),
    CONSTRAINT import_chunks_job FOREIGN KEY (corp_id, job_id)
        REFERENCES directory.import_jobs (corp_id, job_id) ON DELETE CASCADE
);

COMMENT ON COLUMN directory.import_chunks.chunk_number IS 'From 0 on.';

-- What is wrong with the rows that a job refused.
CREATE TABLE directory.import_errors (
    corp_id      text   NOT NULL,
    job_id       text   COLLATE "C" NOT NULL,
    error_number bigint NOT NULL,
    line         bigint NOT NULL,
    column_name  text   NOT NULL,
    reason       text   NOT NULL,

    CONSTRAINT import_errors_pkey PRIMARY KEY (corp_id, job_id, error_number),
    CONSTRAINT import_errors_job FOREIGN KEY (corp_id, job_id)
        REFERENCES directory.import_jobs (corp_id, job_id) ON DELETE CASCADE
);

COMMENT ON COLUMN directory.import_errors.error_number IS 'From 1 on, in the order of finding.';
COMMENT ON COLUMN directory.import_errors.column_name IS
    'As the file''s header has it; empty if the row as a whole is wrong.';
