-- Corps that are gone: their rows are deleted little by little; the id stays, so that a call that
-- was late brings nothing back. Expand only: code before this does not know the table.

CREATE TABLE contacts.deleted_corps (
    corp_id     text        NOT NULL,
    delete_time timestamptz NOT NULL DEFAULT now(),
    purge_time  timestamptz,

    CONSTRAINT deleted_corps_pkey PRIMARY KEY (corp_id)
);

COMMENT ON COLUMN contacts.deleted_corps.delete_time IS 'When identity said that the corp is gone.';
COMMENT ON COLUMN contacts.deleted_corps.purge_time IS 'When the last of its rows was deleted.';

-- The purge looks for the corps that have rows left.
CREATE INDEX deleted_corps_waiting ON contacts.deleted_corps (delete_time)
    WHERE purge_time IS NULL;
