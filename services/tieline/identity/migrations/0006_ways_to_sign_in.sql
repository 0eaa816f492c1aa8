-- What members and customers sign in by beside the password, and what keeps guessers out.
-- Nothing secret stands here as it is: codes are derived or hashed, secrets are encrypted.
-- Expand only: what was there keeps its meaning; every new column has a default.

ALTER TABLE identity.accounts
    ADD COLUMN state text NOT NULL DEFAULT 'active',
    ADD CONSTRAINT accounts_state CHECK (state IN ('active', 'disabled', 'left')) NOT VALID;

COMMENT ON COLUMN identity.accounts.state IS
    'As the directory''s events tell; only active accounts sign in.';

-- How the members of a corp may sign in. A corp without a row has the defaults.
CREATE TABLE identity.sign_in_policies (
    corp_id                   text   NOT NULL,
    second_factor_requirement text   NOT NULL,
    change_number             bigint NOT NULL DEFAULT 1,

    CONSTRAINT sign_in_policies_pkey PRIMARY KEY (corp_id),
    CONSTRAINT sign_in_policies_corp FOREIGN KEY (corp_id)
        REFERENCES identity.corps (corp_id) ON DELETE CASCADE,
    CONSTRAINT sign_in_policies_second_factor_requirement
        CHECK (second_factor_requirement IN ('none', 'administrators', 'everyone'))
);

COMMENT ON COLUMN identity.sign_in_policies.change_number IS 'The etag.';

-- How often something went wrong lately, or was asked for. Accounts that do not exist have rows
-- too, or the difference would tell. corp_id is empty for what belongs to no corp.
CREATE TABLE identity.sign_in_tallies (
    corp_id    text             NOT NULL,
    tally_key  bytea            NOT NULL,
    count      double precision NOT NULL,
    count_time timestamptz      NOT NULL,

    CONSTRAINT sign_in_tallies_pkey PRIMARY KEY (corp_id, tally_key)
);

COMMENT ON COLUMN identity.sign_in_tallies.tally_key IS
    'HMAC of what is counted, such as an account with an address: neither can be read here.';
COMMENT ON COLUMN identity.sign_in_tallies.count IS
    'At count_time; it decays by the rule in lockout.py, hence the fraction.';

-- The purge.
CREATE INDEX sign_in_tallies_by_count_time ON identity.sign_in_tallies (count_time);

-- Addresses from which an account was signed in to: strangers elsewhere do not lock it out there.
CREATE TABLE identity.known_addresses (
    corp_id     text        NOT NULL,
    user_id     text        NOT NULL,
    address_key bytea       NOT NULL,
    use_time    timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT known_addresses_pkey PRIMARY KEY (corp_id, user_id, address_key)
);

COMMENT ON COLUMN identity.known_addresses.address_key IS 'HMAC of the address.';
COMMENT ON COLUMN identity.known_addresses.use_time IS
    'Of the last sign-in there, to a day; forgotten after 90 days.';

-- The purge.
CREATE INDEX known_addresses_by_use_time ON identity.known_addresses (use_time);

-- One-time codes, and the queue from which they are sent. corp_id is empty for customers' codes.
CREATE TABLE identity.one_time_codes (
    corp_id           text        NOT NULL,
    code_id           uuid        NOT NULL,
    purpose           text        NOT NULL,
    receiver_kind     text        NOT NULL,
    receiver          text        NOT NULL,
    user_id           text,
    wrong_attempts    bigint      NOT NULL DEFAULT 0,
    expire_time       timestamptz NOT NULL,
    use_time          timestamptz,
    delivery_state    text        NOT NULL DEFAULT 'waiting',
    delivery_attempts bigint      NOT NULL DEFAULT 0,
    next_attempt_time timestamptz NOT NULL DEFAULT now(),
    create_time       timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT one_time_codes_pkey PRIMARY KEY (corp_id, code_id),
    CONSTRAINT one_time_codes_purpose
        CHECK (purpose IN ('sign_in', 'password_reset', 'customer_sign_in')),
    CONSTRAINT one_time_codes_receiver_kind CHECK (receiver_kind IN ('mobile', 'email')),
    CONSTRAINT one_time_codes_delivery_state
        CHECK (delivery_state IN ('waiting', 'sent', 'unknown_receiver', 'dead')),
    CONSTRAINT one_time_codes_customers_have_no_corp
        CHECK ((purpose = 'customer_sign_in') = (corp_id = ''))
);

COMMENT ON TABLE identity.one_time_codes IS
    'The code itself is derived from code_id with a key that is not here.';
COMMENT ON COLUMN identity.one_time_codes.user_id IS
    'Whom the directory named when the code was sent; NULL until then, for unknown receivers and for customers.';
COMMENT ON COLUMN identity.one_time_codes.next_attempt_time IS
    'When it may be sent (again); in the future while a replica is sending it.';

-- The queue: what is to be sent next.
CREATE INDEX one_time_codes_by_next_attempt ON identity.one_time_codes (next_attempt_time)
    WHERE delivery_state = 'waiting';
-- The purge.
CREATE INDEX one_time_codes_by_expire_time ON identity.one_time_codes (expire_time);

-- Authenticators: at most one of a member.
CREATE TABLE identity.second_factors (
    corp_id        text        NOT NULL,
    user_id        text        NOT NULL,
    sealed_secret  bytea       NOT NULL,
    confirm_time   timestamptz,
    last_used_step bigint      NOT NULL DEFAULT 0,
    create_time    timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT second_factors_pkey PRIMARY KEY (corp_id, user_id),
    CONSTRAINT second_factors_account FOREIGN KEY (corp_id, user_id)
        REFERENCES identity.accounts (corp_id, user_id) ON DELETE CASCADE
);

COMMENT ON COLUMN identity.second_factors.sealed_secret IS
    'AES-256-GCM: 12 bytes of nonce, then the encrypted secret; the associated data is corp and user.';
COMMENT ON COLUMN identity.second_factors.confirm_time IS
    'NULL while the enrolment is not confirmed: nothing is asked for at sign-in.';
COMMENT ON COLUMN identity.second_factors.last_used_step IS
    'Number of 30-second steps since the epoch; codes of this one and earlier ones are used up.';

CREATE TABLE identity.recovery_codes (
    corp_id   text  NOT NULL,
    user_id   text  NOT NULL,
    code_hash bytea NOT NULL,

    CONSTRAINT recovery_codes_pkey PRIMARY KEY (corp_id, user_id, code_hash),
    CONSTRAINT recovery_codes_second_factor FOREIGN KEY (corp_id, user_id)
        REFERENCES identity.second_factors (corp_id, user_id) ON DELETE CASCADE
);

COMMENT ON TABLE identity.recovery_codes IS 'Those not used yet; using one deletes it.';
COMMENT ON COLUMN identity.recovery_codes.code_hash IS
    'SHA-256 of the code, which has 80 random bits and so needs no slow hash.';

-- OpenID Connect providers of corps.
CREATE TABLE identity.sign_in_providers (
    corp_id              text        NOT NULL,
    provider_id          uuid        NOT NULL,
    display_name         text        NOT NULL,
    issuer               text        NOT NULL,
    client_id            text        NOT NULL,
    sealed_client_secret bytea       NOT NULL,
    user_claim           text        NOT NULL,
    redirect_uris        text[]      NOT NULL,
    enabled              boolean     NOT NULL,
    change_number        bigint      NOT NULL DEFAULT 1,
    create_time          timestamptz NOT NULL DEFAULT now(),
    update_time          timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT sign_in_providers_pkey PRIMARY KEY (corp_id, provider_id),
    CONSTRAINT sign_in_providers_corp FOREIGN KEY (corp_id)
        REFERENCES identity.corps (corp_id) ON DELETE CASCADE,
    CONSTRAINT sign_in_providers_user_claim
        CHECK (user_claim IN ('email', 'preferred_username', 'linked_subject'))
);

COMMENT ON COLUMN identity.sign_in_providers.sealed_client_secret IS
    'AES-256-GCM: 12 bytes of nonce, then the encrypted secret; the associated data is corp and provider.';
COMMENT ON COLUMN identity.sign_in_providers.change_number IS 'The etag.';

-- Sign-ins that are under way at a provider. Completing one deletes it.
CREATE TABLE identity.provider_flows (
    corp_id          text        NOT NULL,
    state_hash       bytea       NOT NULL,
    provider_id      uuid        NOT NULL,
    flow_secret_hash bytea       NOT NULL,
    nonce            text        NOT NULL,
    sealed_verifier  bytea       NOT NULL,
    redirect_uri     text        NOT NULL,
    expire_time      timestamptz NOT NULL,

    CONSTRAINT provider_flows_pkey PRIMARY KEY (corp_id, state_hash),
    CONSTRAINT provider_flows_provider FOREIGN KEY (corp_id, provider_id)
        REFERENCES identity.sign_in_providers (corp_id, provider_id) ON DELETE CASCADE
);

COMMENT ON COLUMN identity.provider_flows.sealed_verifier IS
    'The code verifier of PKCE, encrypted as the client secret is; the associated data is the state''s hash.';

-- Deleting a provider.
CREATE INDEX provider_flows_by_provider ON identity.provider_flows (corp_id, provider_id);
-- The purge.
CREATE INDEX provider_flows_by_expire_time ON identity.provider_flows (expire_time);

-- Accounts at a provider whose owners said who they are here.
CREATE TABLE identity.provider_links (
    corp_id     text        NOT NULL,
    provider_id uuid        NOT NULL,
    subject     text        NOT NULL,
    user_id     text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT provider_links_pkey PRIMARY KEY (corp_id, provider_id, subject),
    CONSTRAINT provider_links_provider FOREIGN KEY (corp_id, provider_id)
        REFERENCES identity.sign_in_providers (corp_id, provider_id) ON DELETE CASCADE,
    CONSTRAINT provider_links_account FOREIGN KEY (corp_id, user_id)
        REFERENCES identity.accounts (corp_id, user_id) ON DELETE CASCADE
);

COMMENT ON COLUMN identity.provider_links.subject IS 'The claim sub.';

-- A member who leaves.
CREATE INDEX provider_links_by_user ON identity.provider_links (corp_id, user_id);

-- Devices that wait to be let in by a QR code. Global: whose they will be is known by whoever
-- scans the code.
CREATE TABLE identity.qr_sign_ins (
    qr_id            uuid        NOT NULL,
    poll_secret_hash bytea       NOT NULL,
    device_name      text        NOT NULL,
    address          text        NOT NULL,
    state            text        NOT NULL DEFAULT 'waiting',
    corp_id          text,
    user_id          text,
    expire_time      timestamptz NOT NULL,
    create_time      timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT qr_sign_ins_pkey PRIMARY KEY (qr_id),
    CONSTRAINT qr_sign_ins_state
        CHECK (state IN ('waiting', 'scanned', 'approved', 'rejected', 'given')),
    CONSTRAINT qr_sign_ins_scanned_by_somebody
        CHECK ((state = 'waiting') = (user_id IS NULL) AND (corp_id IS NULL) = (user_id IS NULL))
);

COMMENT ON COLUMN identity.qr_sign_ins.corp_id IS 'Of the member who scanned the code.';
COMMENT ON COLUMN identity.qr_sign_ins.state IS
    'given: approved, and the device has had its session.';

-- The purge.
CREATE INDEX qr_sign_ins_by_expire_time ON identity.qr_sign_ins (expire_time);

-- Customers who came by a one-time code have no channel; the subject is their number or address.
-- squawk-ignore ban-drop-not-null
ALTER TABLE identity.customers ALTER COLUMN channel_id DROP NOT NULL;

COMMENT ON COLUMN identity.customers.channel_id IS
    'NULL for a customer who signs in by one-time codes.';

-- One number or address is one customer, however many first sign-ins come at once.
CREATE UNIQUE INDEX customers_contact ON identity.customers (subject) WHERE channel_id IS NULL;
