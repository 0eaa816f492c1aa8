-- Media that scheduled messages will refer to: they stay until the schedule has ended. Expand only:
-- until all replicas are new, older ones still let such media expire.

CREATE TABLE messaging.scheduled_media (
    corp_id              text COLLATE "C" NOT NULL,
    media_id             uuid NOT NULL,
    scheduled_message_id text COLLATE "C" NOT NULL,

    CONSTRAINT scheduled_media_pkey PRIMARY KEY (corp_id, media_id, scheduled_message_id)
);

COMMENT ON TABLE messaging.scheduled_media IS
    'Written with the scheduled message, under the media''s locks; of active ones alone.';

-- What changes or ends lets go of what it had.
CREATE INDEX scheduled_media_by_message
    ON messaging.scheduled_media (corp_id, scheduled_message_id);
