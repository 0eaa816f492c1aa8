-- Who owns a corp, since when a member is active, the next tag's id, and what keeps numbers and
-- addresses from being tried out. Expand only: every new column has a default.

ALTER TABLE directory.corps
    ADD COLUMN owner_user_id text   COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN next_tag_id   bigint NOT NULL DEFAULT 1;

COMMENT ON COLUMN directory.corps.owner_user_id IS
    'Who can be neither disabled nor deleted; empty for corps made before this was kept.';
COMMENT ON COLUMN directory.corps.next_tag_id IS 'Above every id that was given.';

ALTER TABLE directory.members ADD COLUMN activate_time timestamptz;

COMMENT ON COLUMN directory.members.activate_time IS
    'When the member accepted an invitation: whoever is enabled again is active or invited by it.';

-- How often a caller asked for a number or an address that nobody has, by day.
CREATE TABLE directory.lookup_failures (
    corp_id       text   NOT NULL,
    principal_id  text   COLLATE "C" NOT NULL,
    failure_date  date   NOT NULL,
    failure_count bigint NOT NULL,
    allowance     bigint NOT NULL,

    CONSTRAINT lookup_failures_pkey PRIMARY KEY (corp_id, principal_id, failure_date)
);

COMMENT ON COLUMN directory.lookup_failures.principal_id IS 'Kind and id of the caller.';
COMMENT ON COLUMN directory.lookup_failures.failure_date IS 'In UTC.';
COMMENT ON COLUMN directory.lookup_failures.allowance IS
    'How many the day may have, from the corp''s members at its first failure.';
