-- Media, the uploads that become media, and which messages refer to them. The bytes are in the
-- store; here is what they are and who may read them. Expand only: nothing reads these yet.

CREATE TABLE messaging.media_uploads (
    corp_id      text        COLLATE "C" NOT NULL,
    upload_id    uuid        NOT NULL,
    owner_kind   text        COLLATE "C" NOT NULL,
    owner_id     text        COLLATE "C" NOT NULL,
    kind         text        NOT NULL,
    name         text        NOT NULL,
    size_bytes   bigint      NOT NULL,
    sha256       bytea       NOT NULL,
    offset_bytes bigint      NOT NULL DEFAULT 0,
    part_keys    text[]      NOT NULL DEFAULT '{}',
    claim_id     uuid,
    create_time  timestamptz NOT NULL DEFAULT now(),
    expire_time  timestamptz NOT NULL,

    CONSTRAINT media_uploads_pkey PRIMARY KEY (corp_id, upload_id),
    CONSTRAINT media_uploads_offset_within CHECK (offset_bytes BETWEEN 0 AND size_bytes)
);

COMMENT ON COLUMN messaging.media_uploads.offset_bytes IS
    'Bytes that are in the store: the sum of the parts.';
COMMENT ON COLUMN messaging.media_uploads.part_keys IS
    'Keys of the parts in the store, in order.';
COMMENT ON COLUMN messaging.media_uploads.claim_id IS
    'The stream that continues the upload: the last one that came. Another one''s parts are refused.';

-- How many of somebody's are not complete.
CREATE INDEX media_uploads_by_owner ON messaging.media_uploads (corp_id, owner_kind, owner_id);
-- The purge.
CREATE INDEX media_uploads_by_expiry ON messaging.media_uploads (expire_time);

CREATE TABLE messaging.media (
    corp_id              text        COLLATE "C" NOT NULL,
    media_id             uuid        NOT NULL,
    owner_kind           text        COLLATE "C" NOT NULL,
    owner_id             text        COLLATE "C" NOT NULL,
    kind                 text        NOT NULL,
    name                 text        NOT NULL,
    size_bytes           bigint      NOT NULL,
    sha256               bytea       NOT NULL,
    content_type         text        NOT NULL,
    width                bigint      NOT NULL DEFAULT 0,
    height               bigint      NOT NULL DEFAULT 0,
    duration_ms          bigint      NOT NULL DEFAULT 0,
    thumbnail_size_bytes bigint      NOT NULL DEFAULT 0,
    create_time          timestamptz NOT NULL DEFAULT now(),
    expire_time          timestamptz NOT NULL,
    is_removed           boolean     NOT NULL DEFAULT false,

    CONSTRAINT media_pkey PRIMARY KEY (corp_id, media_id)
);

COMMENT ON COLUMN messaging.media.expire_time IS
    'When it goes unless a message refers to it; put off at each look that finds one.';
COMMENT ON COLUMN messaging.media.is_removed IS
    'Nobody can read or refer to it any more; its bytes are being deleted, then the row.';

-- The purge.
CREATE INDEX media_by_expiry ON messaging.media (expire_time);

-- Written in the transaction that stores the message. No foreign keys: the conversation's row is
-- locked then, and so is the medium's.
CREATE TABLE messaging.media_references (
    corp_id         text        COLLATE "C" NOT NULL,
    media_id        uuid        NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    message_time    timestamptz NOT NULL,

    CONSTRAINT media_references_pkey PRIMARY KEY (corp_id, media_id, conversation_id, sequence)
);

COMMENT ON COLUMN messaging.media_references.message_time IS 'create_time of the message.';

-- A recall takes back what its message refers to.
CREATE INDEX media_references_by_message
    ON messaging.media_references (corp_id, conversation_id, sequence);
