-- What auditors have read of all that was said in a corp, and what lets them read it in order of
-- time. Expand only. The index reads each part once, while its senders wait: it holds one entry for a
-- hundred pages, and costs an insert nothing.

-- squawk-ignore require-concurrent-index-creation -- a partitioned table can't have one so made
CREATE INDEX stored_messages_by_time
    ON messaging.stored_messages USING brin (create_time) WITH (pages_per_range = 16);

CREATE INDEX held_messages_by_time ON messaging.held_messages (corp_id, create_time);

CREATE TABLE messaging.archive_consumers (
    corp_id         text        COLLATE "C" NOT NULL,
    consumer_id     text        COLLATE "C" NOT NULL,
    message_time    timestamptz NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    update_time     timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT archive_consumers_pkey PRIMARY KEY (corp_id, consumer_id)
);

COMMENT ON TABLE messaging.archive_consumers IS
    'Up to which message each reader of the archive has acknowledged it.';
