-- Corps that are suspended or about to be deleted: over links nobody reads them. Expand only: code
-- before this neither writes nor reads it, and every corp begins as active.

ALTER TABLE directory.corps
    ADD COLUMN is_active boolean NOT NULL DEFAULT true;

COMMENT ON COLUMN directory.corps.is_active IS
    'What identity said last: false while the corp is suspended or waits for its deletion.';
