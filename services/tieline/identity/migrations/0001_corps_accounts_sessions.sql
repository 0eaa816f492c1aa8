-- Corps, the people who sign in, their sessions, and the keys that sign tokens.
-- Nothing secret stands here as it is: passwords, codes and refresh tokens are hashes, private
-- keys are encrypted. Expand only: nothing reads these yet.

CREATE TABLE identity.corps (
    corp_id       text        NOT NULL,
    display_name  text        NOT NULL,
    kind          text        NOT NULL,
    owner_user_id text        NOT NULL,
    create_time   timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT corps_pkey PRIMARY KEY (corp_id),
    CONSTRAINT corps_kind CHECK (kind IN ('company', 'school', 'hospital', 'government', 'other'))
);

-- Who confirmed a corp, and by what. A corp is verified once: the first reviewer stands.
CREATE TABLE identity.verifications (
    corp_id     text        NOT NULL,
    evidence    text        NOT NULL,
    reviewer    text        NOT NULL,
    verify_time timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT verifications_pkey PRIMARY KEY (corp_id),
    CONSTRAINT verifications_corp FOREIGN KEY (corp_id) REFERENCES identity.corps (corp_id)
);

COMMENT ON COLUMN identity.verifications.reviewer IS 'Name of the platform administrator.';

-- Members who may sign in. One who was never invited has no row: the directory knows the others.
CREATE TABLE identity.accounts (
    corp_id       text        NOT NULL,
    user_id       text        NOT NULL,
    role          text        NOT NULL,
    display_name  text        NOT NULL DEFAULT '',
    password_hash text,
    create_time   timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT accounts_pkey PRIMARY KEY (corp_id, user_id),
    CONSTRAINT accounts_corp FOREIGN KEY (corp_id) REFERENCES identity.corps (corp_id),
    CONSTRAINT accounts_role CHECK (role IN ('owner', 'administrator', 'member')),
    CONSTRAINT accounts_user_id_folded CHECK (user_id = lower(user_id))
);

COMMENT ON COLUMN identity.accounts.display_name IS
    'Name of the owner as the corp was created with it; empty for the others, whose names the directory keeps.';
COMMENT ON COLUMN identity.accounts.password_hash IS
    'Argon2id, its parameters included, of the peppered password; NULL until an invitation is accepted.';

-- The latest invitation of each member; a new one takes the place of the earlier.
CREATE TABLE identity.invitations (
    corp_id     text        NOT NULL,
    user_id     text        NOT NULL,
    code_hash   bytea       NOT NULL,
    expire_time timestamptz NOT NULL,
    use_time    timestamptz,

    CONSTRAINT invitations_pkey PRIMARY KEY (corp_id, user_id),
    CONSTRAINT invitations_corp FOREIGN KEY (corp_id) REFERENCES identity.corps (corp_id)
);

COMMENT ON COLUMN identity.invitations.code_hash IS
    'SHA-256 of the code, which has 128 random bits and so needs no slow hash.';
COMMENT ON COLUMN identity.invitations.use_time IS 'When the code was used; NULL while it is good.';

-- Signed-in devices. corp_id is empty for customers and platform administrators, who belong to no
-- corp: one form of row, one refresh path, and the key still begins with corp_id. No foreign key
-- for the same reason.
CREATE TABLE identity.sessions (
    corp_id            text        NOT NULL,
    session_id         uuid        NOT NULL,
    principal_kind     text        NOT NULL,
    principal_id       text        NOT NULL,
    seed_hash          bytea       NOT NULL,
    refresh_generation bigint      NOT NULL DEFAULT 0,
    refresh_time       timestamptz NOT NULL DEFAULT now(),
    expire_time        timestamptz NOT NULL,
    end_time           timestamptz,
    create_time        timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT sessions_pkey PRIMARY KEY (corp_id, session_id),
    CONSTRAINT sessions_principal_kind
        CHECK (principal_kind IN ('platform_administrator', 'member', 'customer')),
    CONSTRAINT sessions_member_has_corp CHECK ((principal_kind = 'member') = (corp_id <> ''))
);

COMMENT ON COLUMN identity.sessions.seed_hash IS
    'SHA-256 of the 16 random bytes that stand in every refresh token of the session.';
COMMENT ON COLUMN identity.sessions.refresh_generation IS
    'Number of the newest refresh token; an older one that comes again was stolen, or its answer was lost.';
COMMENT ON COLUMN identity.sessions.refresh_time IS 'When the newest refresh token was issued.';
COMMENT ON COLUMN identity.sessions.expire_time IS 'When the newest refresh token ends.';
COMMENT ON COLUMN identity.sessions.end_time IS
    'When a reused refresh token or a new password ended the session; NULL while it is good.';

-- A new password ends the member's sessions.
CREATE INDEX sessions_by_principal ON identity.sessions (corp_id, principal_kind, principal_id);
-- The purge.
CREATE INDEX sessions_by_expire_time ON identity.sessions (expire_time);

-- Global tables. Why each has no corp stands in the docstring of tieline.identity.

CREATE TABLE identity.platform_administrators (
    name          text        NOT NULL,
    password_hash text        NOT NULL,
    create_time   timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT platform_administrators_pkey PRIMARY KEY (name)
);

CREATE TABLE identity.channels (
    channel_id   text        NOT NULL,
    display_name text        NOT NULL,
    public_key   bytea       NOT NULL,
    create_time  timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT channels_pkey PRIMARY KEY (channel_id),
    CONSTRAINT channels_public_key_length CHECK (octet_length(public_key) = 32)
);

CREATE TABLE identity.customers (
    customer_id  text        NOT NULL,
    channel_id   text        NOT NULL,
    subject      text        NOT NULL,
    display_name text        NOT NULL,
    create_time  timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT customers_pkey PRIMARY KEY (customer_id),
    CONSTRAINT customers_channel FOREIGN KEY (channel_id) REFERENCES identity.channels (channel_id),
    -- One person of a channel is one customer, however many first sign-ins come at once.
    CONSTRAINT customers_channel_subject UNIQUE (channel_id, subject)
);

COMMENT ON COLUMN identity.customers.subject IS 'The person''s id at the channel.';
COMMENT ON COLUMN identity.customers.display_name IS 'As the channel last said it.';

-- Assertions that were used, until they would have expired anyway.
CREATE TABLE identity.used_assertions (
    channel_id  text        NOT NULL,
    jti         text        NOT NULL,
    expire_time timestamptz NOT NULL,

    CONSTRAINT used_assertions_pkey PRIMARY KEY (channel_id, jti)
);

-- The purge.
CREATE INDEX used_assertions_by_expire_time ON identity.used_assertions (expire_time);

CREATE TABLE identity.signing_keys (
    key_id             text        NOT NULL,
    public_key         bytea       NOT NULL,
    sealed_private_key bytea       NOT NULL,
    create_time        timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT signing_keys_pkey PRIMARY KEY (key_id)
);

COMMENT ON COLUMN identity.signing_keys.sealed_private_key IS
    'AES-256-GCM: 12 bytes of nonce, then the encrypted Ed25519 private key. The key for it is derived from the setting secret_key; the associated data is key_id.';
