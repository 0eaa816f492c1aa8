-- Codes by which members come into groups, who asks to come in, members of the corp who left it and
-- are still to be taken out of their groups, and what is known of corps. Expand only.

CREATE TABLE messaging.join_codes (
    corp_id         text        COLLATE "C" NOT NULL,
    code            text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    creator_user_id text        COLLATE "C" NOT NULL,
    expire_time     timestamptz NOT NULL,
    max_uses        bigint      NOT NULL,
    use_count       bigint      NOT NULL DEFAULT 0,
    needs_approval  boolean     NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT join_codes_pkey PRIMARY KEY (corp_id, code),
    CONSTRAINT join_codes_uses_within CHECK (max_uses = 0 OR use_count <= max_uses)
);

COMMENT ON COLUMN messaging.join_codes.max_uses IS '0 for any number.';

-- ListJoinCodes, and how many a group has.
CREATE INDEX join_codes_by_conversation
    ON messaging.join_codes (corp_id, conversation_id, create_time);

CREATE TABLE messaging.join_requests (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    user_id         text        COLLATE "C" NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT join_requests_pkey PRIMARY KEY (corp_id, conversation_id, user_id)
);

CREATE TABLE messaging.departures (
    corp_id     text        COLLATE "C" NOT NULL,
    user_id     text        COLLATE "C" NOT NULL,
    depart_time timestamptz NOT NULL,

    CONSTRAINT departures_pkey PRIMARY KEY (corp_id, user_id)
);

COMMENT ON TABLE messaging.departures IS
    'Members who left their corp, or may not sign in any more, and are still in groups.';
COMMENT ON COLUMN messaging.departures.depart_time IS
    'Groups that they joined later are none of this: they are back.';

CREATE TABLE messaging.corps (
    corp_id        text        COLLATE "C" NOT NULL,
    verified_label text        NOT NULL DEFAULT '',
    is_suspended   boolean     NOT NULL DEFAULT false,
    delete_time    timestamptz,
    purge_time     timestamptz,

    CONSTRAINT corps_pkey PRIMARY KEY (corp_id)
);

COMMENT ON TABLE messaging.corps IS 'What identity said of corps; the rows of deleted ones stay.';
COMMENT ON COLUMN messaging.corps.verified_label IS
    'What outsiders see beside the corp''s people; empty until it is verified.';
COMMENT ON COLUMN messaging.corps.delete_time IS 'When identity said that the corp is gone.';
COMMENT ON COLUMN messaging.corps.purge_time IS 'When the last of its rows was deleted.';
