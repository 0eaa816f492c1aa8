-- Messages that are sent later. Expand only: nothing reads this yet.

CREATE TABLE messaging.scheduled_messages (
    corp_id              text        COLLATE "C" NOT NULL,
    scheduled_message_id text        COLLATE "C" NOT NULL,
    conversation_id      text        COLLATE "C" NOT NULL,
    sender_kind          text        COLLATE "C" NOT NULL,
    sender_id            text        COLLATE "C" NOT NULL,
    content              bytea       NOT NULL,
    schedule             bytea       NOT NULL,
    state                text        NOT NULL DEFAULT 'active',
    next_send_time       timestamptz,
    sent_count           bigint      NOT NULL DEFAULT 0,
    last_send_time       timestamptz,
    failure              bytea,
    version              bigint      NOT NULL DEFAULT 1,
    claimed_until        timestamptz NOT NULL DEFAULT '-infinity',
    create_time          timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT scheduled_messages_pkey PRIMARY KEY (corp_id, scheduled_message_id),
    CONSTRAINT scheduled_messages_state_known
        CHECK (state IN ('active', 'finished', 'cancelled', 'failed')),
    CONSTRAINT scheduled_messages_time_only_of_active
        CHECK ((state = 'active') = (next_send_time IS NOT NULL)),
    CONSTRAINT scheduled_messages_failure_only_of_failed
        CHECK ((state = 'failed') = (failure IS NOT NULL)),
    -- The rule is in schedules.check_schedule and scheduled_messages.check_room; these are the nets.
    CONSTRAINT scheduled_messages_sent_count_not_negative CHECK (sent_count >= 0)
);

COMMENT ON COLUMN messaging.scheduled_messages.content IS
    'Serialized tieline.api.messaging.v1.MessageContent.';
COMMENT ON COLUMN messaging.scheduled_messages.schedule IS
    'Serialized tieline.api.messaging.v1.Schedule.';
COMMENT ON COLUMN messaging.scheduled_messages.failure IS
    'Serialized tieline.api.messaging.v1.SendError.';
COMMENT ON COLUMN messaging.scheduled_messages.claimed_until IS
    'Until then a replica is about to send the next one. Whoever takes over sends under the same client message id.';

-- What is due, of all corps: each replica looks every second.
CREATE INDEX scheduled_messages_due
    ON messaging.scheduled_messages (next_send_time)
    WHERE state = 'active';

-- A person's own, the newest first; and how many of them are active.
CREATE INDEX scheduled_messages_by_sender
    ON messaging.scheduled_messages (corp_id, sender_kind, sender_id, scheduled_message_id);
