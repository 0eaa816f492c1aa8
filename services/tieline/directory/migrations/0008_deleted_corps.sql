-- Corps that are gone: their rows are deleted little by little, the id stays so that an old event
-- does not bring the corp back. Expand only: both columns are empty at first.

ALTER TABLE directory.corps
    ADD COLUMN delete_time timestamptz,
    ADD COLUMN purge_time  timestamptz;

COMMENT ON COLUMN directory.corps.delete_time IS 'When identity said that the corp is gone.';
COMMENT ON COLUMN directory.corps.purge_time IS 'When the last of its rows was deleted.';
