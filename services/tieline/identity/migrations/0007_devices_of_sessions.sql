-- What a session was opened with, for the person who looks for a stranger among them. Expand only:
-- code that does not know the columns leaves them at their defaults.

ALTER TABLE identity.sessions
    ADD COLUMN device_name     text   NOT NULL DEFAULT '',
    ADD COLUMN device_platform bigint NOT NULL DEFAULT 0,
    ADD COLUMN address         text   NOT NULL DEFAULT '';

COMMENT ON COLUMN identity.sessions.device_name IS 'As the client said it.';
COMMENT ON COLUMN identity.sessions.device_platform IS 'Number of the DevicePlatform in the proto.';
COMMENT ON COLUMN identity.sessions.address IS
    'Where the session was last refreshed from, without the port; until then where it was opened.';
