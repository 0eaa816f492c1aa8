-- Trusted channels get another key, are disabled and deleted. Expand only: the code before knows none
-- of the columns, all of which have defaults; it lets a disabled channel's people in, so that a
-- channel is to be disabled once every replica is new.

ALTER TABLE identity.channels
    ADD COLUMN previous_public_key bytea,
    ADD COLUMN previous_key_expire_time timestamptz,
    ADD COLUMN is_disabled boolean NOT NULL DEFAULT false,
    ADD COLUMN delete_time timestamptz,
    ADD COLUMN session_floor_time timestamptz,
    ADD COLUMN change_number bigint NOT NULL DEFAULT 1;

COMMENT ON COLUMN identity.channels.previous_public_key IS
    'Good beside public_key until previous_key_expire_time; NULL where the key was never replaced.';
COMMENT ON COLUMN identity.channels.delete_time IS
    'Only the row that its customers refer to is left. To callers it is not there.';
COMMENT ON COLUMN identity.channels.session_floor_time IS
    'Sessions opened before it are over: one column ends them all, however many there are.';
COMMENT ON COLUMN identity.channels.change_number IS 'The etag: one more with each change.';
