-- Where people's devices can be reached while they are not subscribed, when nothing is pushed to
-- them, and what is still to be pushed. Expand only: nothing reads these yet.

CREATE TABLE messaging.push_targets (
    corp_id        text        COLLATE "C" NOT NULL,
    session_id     text        COLLATE "C" NOT NULL,
    kind           text        COLLATE "C" NOT NULL,
    id             text        COLLATE "C" NOT NULL,
    platform       text        NOT NULL,
    token          text        COLLATE "C" NOT NULL,
    locale         text        NOT NULL,
    create_time    timestamptz NOT NULL DEFAULT now(),
    register_time  timestamptz NOT NULL DEFAULT now(),
    connected_time timestamptz,

    CONSTRAINT push_targets_pkey PRIMARY KEY (corp_id, session_id)
)
-- The time changes every 10 s while a device is connected. No index has it.
WITH (fillfactor = 70);

COMMENT ON COLUMN messaging.push_targets.session_id IS
    'The device: its session, of identity. It is one person''s.';
COMMENT ON COLUMN messaging.push_targets.token IS 'What names the device to its platform.';
COMMENT ON COLUMN messaging.push_targets.connected_time IS
    'When a replica last saw a subscription of the device open; NULL for none since it ended.';

-- A person's devices: whom a message is pushed to.
CREATE INDEX push_targets_by_person ON messaging.push_targets (corp_id, kind, id, session_id);

-- Which other session had a token. Tokens are up to 4 KiB, too long for an index of their own. Not by
-- the corp: the planner would as soon take it for a person's.
CREATE INDEX push_targets_by_token ON messaging.push_targets (md5(token));

-- Sessions of customers end in all corps at once.
CREATE INDEX push_targets_by_customer_session
    ON messaging.push_targets (session_id)
    WHERE kind = 'customer';
CREATE INDEX push_targets_of_customers ON messaging.push_targets (id) WHERE kind = 'customer';

-- The purge.
CREATE INDEX push_targets_by_time ON messaging.push_targets (register_time);

CREATE TABLE messaging.push_settings (
    corp_id         text    COLLATE "C" NOT NULL,
    kind            text    COLLATE "C" NOT NULL,
    id              text    COLLATE "C" NOT NULL,
    quiet_hours     bytea,
    previews_hidden boolean NOT NULL DEFAULT false,

    CONSTRAINT push_settings_pkey PRIMARY KEY (corp_id, kind, id)
);

COMMENT ON COLUMN messaging.push_settings.quiet_hours IS
    'Serialized tieline.api.messaging.v1.QuietHours; NULL for none.';

CREATE TABLE messaging.corp_push_settings (
    corp_id         text    COLLATE "C" NOT NULL,
    previews_hidden boolean NOT NULL DEFAULT false,

    CONSTRAINT corp_push_settings_pkey PRIMARY KEY (corp_id)
);

CREATE TABLE messaging.pushes (
    corp_id         text        COLLATE "C" NOT NULL,
    session_id      text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    wanted_sequence bigint      NOT NULL,
    pushed_sequence bigint      NOT NULL DEFAULT 0,
    due_time        timestamptz,
    claim_number    bigint      NOT NULL DEFAULT 0,
    claimed_until   timestamptz NOT NULL DEFAULT '-infinity',
    failures        bigint      NOT NULL DEFAULT 0,
    settle_time     timestamptz,

    CONSTRAINT pushes_pkey PRIMARY KEY (corp_id, session_id, conversation_id)
)
WITH (fillfactor = 80);

COMMENT ON TABLE messaging.pushes IS
    'What a device is to be told of a conversation: one row, however many messages wait.';
COMMENT ON COLUMN messaging.pushes.wanted_sequence IS
    'A message that is to be told. Newer ones raise it only while the row is claimed or settled: otherwise whoever sends sees them.';
COMMENT ON COLUMN messaging.pushes.pushed_sequence IS
    'Up to here nothing is left to tell.';
COMMENT ON COLUMN messaging.pushes.due_time IS
    'When it is sent, or tried again; NULL for nothing to tell.';
COMMENT ON COLUMN messaging.pushes.claimed_until IS
    'Until then a replica is about to send it.';
COMMENT ON COLUMN messaging.pushes.claim_number IS
    'Rises with each claim, so that who lost a claim settles nothing.';

-- Which corps have something to tell, and what is due of each.
CREATE INDEX pushes_due ON messaging.pushes (corp_id, due_time) WHERE due_time IS NOT NULL;

-- The purge of settled ones.
CREATE INDEX pushes_settled ON messaging.pushes (settle_time) WHERE due_time IS NULL;
