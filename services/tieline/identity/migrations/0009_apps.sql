-- Apps of corps, and the secrets by which they get access tokens. Expand only: nothing reads these
-- yet.

-- The last agent id of each corp: an id is never used again, for others may remember it. The row is
-- also what creating an app locks, so that the count of a corp's apps holds.
CREATE TABLE identity.app_numbers (
    corp_id       text   NOT NULL,
    last_agent_id bigint NOT NULL,

    CONSTRAINT app_numbers_pkey PRIMARY KEY (corp_id),
    CONSTRAINT app_numbers_corp FOREIGN KEY (corp_id) REFERENCES identity.corps (corp_id)
);

CREATE TABLE identity.apps (
    corp_id        text        NOT NULL,
    agent_id       bigint      NOT NULL,
    name           text        NOT NULL,
    description    text        NOT NULL,
    rights         text[]      NOT NULL,
    user_ids       text[]      NOT NULL,
    department_ids bigint[]    NOT NULL,
    tag_ids        bigint[]    NOT NULL,
    is_disabled    boolean     NOT NULL,
    change_number  bigint      NOT NULL DEFAULT 1,
    create_time    timestamptz NOT NULL DEFAULT now(),
    update_time    timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT apps_pkey PRIMARY KEY (corp_id, agent_id),
    CONSTRAINT apps_corp FOREIGN KEY (corp_id) REFERENCES identity.corps (corp_id)
);

COMMENT ON COLUMN identity.apps.rights IS 'Values of tieline.chassis.authorization.Right, sorted.';
COMMENT ON COLUMN identity.apps.user_ids IS
    'With department_ids and tag_ids whom the app sees; the directory says who that is.';
COMMENT ON COLUMN identity.apps.change_number IS 'The etag: one more with each change.';

CREATE TABLE identity.app_secrets (
    corp_id     text        NOT NULL,
    secret_id   uuid        NOT NULL,
    agent_id    bigint      NOT NULL,
    secret_hash bytea       NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz,

    CONSTRAINT app_secrets_pkey PRIMARY KEY (corp_id, secret_id),
    CONSTRAINT app_secrets_app FOREIGN KEY (corp_id, agent_id)
        REFERENCES identity.apps (corp_id, agent_id) ON DELETE CASCADE,
    -- A token is asked for by corp and secret: the secret names the app.
    CONSTRAINT app_secrets_hash UNIQUE (corp_id, secret_hash)
);

COMMENT ON COLUMN identity.app_secrets.secret_hash IS
    'SHA-256 of the secret, which has 256 bits and so needs no slow hash.';
COMMENT ON COLUMN identity.app_secrets.expire_time IS
    'When a replaced secret ends; NULL for the current one.';

-- An app's secrets, and the cascade.
CREATE INDEX app_secrets_by_app ON identity.app_secrets (corp_id, agent_id);
-- The purge.
CREATE INDEX app_secrets_by_expire_time ON identity.app_secrets (expire_time)
    WHERE expire_time IS NOT NULL;

-- Rejected secrets by the address that sent them, over an hour from the first one. No corp: what
-- was named need not exist.
CREATE TABLE identity.app_token_failures (
    address    text        NOT NULL,
    failures   bigint      NOT NULL,
    begin_time timestamptz NOT NULL,

    CONSTRAINT app_token_failures_pkey PRIMARY KEY (address)
);

-- The purge.
CREATE INDEX app_token_failures_by_begin_time ON identity.app_token_failures (begin_time);
