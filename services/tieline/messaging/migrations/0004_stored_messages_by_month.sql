-- Messages in parts by month, so that retention drops tables instead of deleting rows. What a part
-- can't enforce by itself is held elsewhere: unique numbers by the lock of the counter in
-- conversations, unique client message ids by recent_sends.
--
-- Expand only. The code before this goes on with messaging.messages, which becomes the oldest part
-- and, on an installation with conversations, takes all messages until a month begins that is at
-- least two days away: until then both versions see each other's. A trigger tells recent_sends of
-- what the older code stores; a later migration drops it, with the unique client message id of
-- messages. Attaching reads messages once, while senders wait.

-- squawk-ignore ban-drop-constraint -- the index of 0002 holds the same
ALTER TABLE messaging.conversations DROP CONSTRAINT conversations_direct_key_unique;

-- A batch of messages is an event of a few KB, which lives for milliseconds: compressing it would
-- cost more than all else about it.
ALTER TABLE messaging.outbox ALTER COLUMN payload SET STORAGE EXTERNAL;

ALTER TABLE messaging.conversations ADD COLUMN participants_version bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN messaging.conversations.participants_version IS
    'Rises whenever somebody leaves. A sender who waited for the row''s lock reads the participants again when this or last_sequence has changed.';

-- What was sent of late, so that a repeat gets the first answer. One row per message, deleted after
-- the time for which the API promises to recognise repeats. No foreign keys: rows are inserted under
-- the lock of their conversation's row, in the statement that stores the message.
CREATE TABLE messaging.recent_sends (
    corp_id           text        COLLATE "C" NOT NULL,
    conversation_id   text        COLLATE "C" NOT NULL,
    sender_kind       text        COLLATE "C" NOT NULL,
    sender_id         text        COLLATE "C" NOT NULL,
    client_message_id text        COLLATE "C" NOT NULL,
    sequence          bigint      NOT NULL,
    create_time       timestamptz NOT NULL,

    -- Finds repeats; a repeat that slipped past the lock fails here.
    CONSTRAINT recent_sends_pkey
        PRIMARY KEY (corp_id, conversation_id, sender_kind, sender_id, client_message_id)
);

COMMENT ON COLUMN messaging.recent_sends.create_time IS 'create_time of the message.';

-- The purge. Rows come in order of time, so that an insert touches the last page alone.
CREATE INDEX recent_sends_by_time ON messaging.recent_sends (create_time);

CREATE FUNCTION messaging.remember_sends() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO messaging.recent_sends
           (corp_id, conversation_id, sender_kind, sender_id, client_message_id, sequence,
            create_time)
    SELECT corp_id, conversation_id, sender_kind, sender_id, client_message_id, sequence,
           create_time
      FROM added;
    RETURN NULL;
END
$$;

-- Only for statements that name messages itself, which the newer code's do not.
CREATE TRIGGER messages_remember_sends
    AFTER INSERT ON messaging.messages
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION messaging.remember_sends();

INSERT INTO messaging.recent_sends
       (corp_id, conversation_id, sender_kind, sender_id, client_message_id, sequence, create_time)
SELECT corp_id, conversation_id, sender_kind, sender_id, client_message_id, sequence, create_time
  FROM messaging.messages
 WHERE create_time > now() - interval '8 days';

-- The time is in the key because PostgreSQL wants it there; sequence alone is unique.
CREATE TABLE messaging.stored_messages (
    corp_id           text        COLLATE "C" NOT NULL,
    conversation_id   text        COLLATE "C" NOT NULL,
    sequence          bigint      NOT NULL,
    sender_kind       text        COLLATE "C" NOT NULL,
    sender_id         text        COLLATE "C" NOT NULL,
    client_message_id text        COLLATE "C" NOT NULL,
    content           bytea       NOT NULL,
    create_time       timestamptz NOT NULL,

    CONSTRAINT stored_messages_pkey PRIMARY KEY (corp_id, conversation_id, sequence, create_time),
    CONSTRAINT messages_sequence_positive CHECK (sequence > 0)
)
PARTITION BY RANGE (create_time);

COMMENT ON TABLE messaging.stored_messages IS
    'What was said, in a part for each month (UTC), named after it.';
COMMENT ON COLUMN messaging.stored_messages.content IS
    'Serialized tieline.api.messaging.v1.MessageContent.';

-- The parts' key in place of the one without the time. Numbers have always been held by the lock.
-- squawk-ignore ban-drop-constraint
ALTER TABLE messaging.messages DROP CONSTRAINT messages_pkey;
ALTER TABLE messaging.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY USING INDEX messages_key_with_time;

DO $$
DECLARE
    -- Without conversations nobody can be sending: an installation that is being made.
    is_in_use boolean := EXISTS (SELECT FROM messaging.conversations);
    first_month timestamptz := date_trunc('month', now(), 'UTC');
BEGIN
    IF is_in_use THEN
        first_month := date_trunc('month', now() + interval '2 days', 'UTC') + interval '1 month';
    END IF;
    EXECUTE format(
        'ALTER TABLE messaging.stored_messages
            ATTACH PARTITION messaging.messages FOR VALUES FROM (MINVALUE) TO (%L)',
        first_month
    );
END
$$;

-- The service's role may make no tables; this makes one kind of them, and nothing else, as the
-- owner. A part is attached rather than created in place: that locks out neither senders nor readers.
CREATE FUNCTION messaging.create_message_parts(months_ahead integer) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    part_start timestamptz;
    part_end   timestamptz;
    part_name  text;
    made       integer := 0;
BEGIN
    -- One maker at a time; the others then find nothing to do.
    PERFORM pg_advisory_xact_lock(hashtextextended('tieline.messaging.message_parts', 0));
    SELECT max((regexp_match(pg_get_expr(part.relpartbound, part.oid), 'TO \(''([^'']+)''\)'))[1]
               ::timestamptz)
      INTO part_start
      FROM pg_inherits
      JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid
     WHERE pg_inherits.inhparent = 'messaging.stored_messages'::regclass;
    WHILE part_start <= date_trunc('month', now()) + make_interval(months => least(months_ahead, 24))
    LOOP
        part_end := part_start + interval '1 month';
        part_name := 'stored_messages_' || to_char(part_start, 'YYYY_MM');
        EXECUTE format(
            'CREATE TABLE messaging.%I (LIKE messaging.stored_messages INCLUDING ALL)', part_name
        );
        EXECUTE format(
            'ALTER TABLE messaging.stored_messages
                ATTACH PARTITION messaging.%I FOR VALUES FROM (%L) TO (%L)',
            part_name, part_start, part_end
        );
        part_start := part_end;
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

COMMENT ON FUNCTION messaging.create_message_parts(integer) IS
    'Makes the parts that are missing up to the month that begins so many months from now (24 at most); returns how many. A repeat makes none.';

SELECT messaging.create_message_parts(3);
