-- Corps that are gone: nothing is posted to their ledgers any more, which are kept for a time by law
-- and deleted then. Expand only: code before this does not know the table.

CREATE TABLE payments.deleted_corps (
    corp_id     text        NOT NULL,
    delete_time timestamptz NOT NULL DEFAULT now(),
    purge_time  timestamptz,

    CONSTRAINT deleted_corps_pkey PRIMARY KEY (corp_id)
);

COMMENT ON COLUMN payments.deleted_corps.delete_time IS 'When identity said that the corp is gone.';
COMMENT ON COLUMN payments.deleted_corps.purge_time IS 'When the last of its rows was deleted.';

-- The purge looks for the corps that have rows left.
CREATE INDEX deleted_corps_waiting ON payments.deleted_corps (delete_time)
    WHERE purge_time IS NULL;

-- When a corp went is what its ledger's time counts from: the service can't say it was earlier.
REVOKE INSERT, UPDATE, DELETE ON payments.deleted_corps FROM tieline_payments;
GRANT INSERT (corp_id), UPDATE (purge_time) ON payments.deleted_corps TO tieline_payments;

-- The service's role may delete no ledger. This does, as the owner: at most so many rows of a corp
-- that has been gone for so many days, and at least for one.
CREATE FUNCTION payments.delete_kept_rows(
    gone_corp_id text, keep_days integer, maximum_rows bigint
)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deleted bigint := 0;
    rows    bigint;
    old     text;
BEGIN
    IF NOT EXISTS (
        SELECT
          FROM payments.deleted_corps
         WHERE corp_id = gone_corp_id
           AND delete_time <= now() - make_interval(days => greatest(keep_days, 1))
    ) THEN
        RAISE EXCEPTION 'the ledger of % is to be kept', gone_corp_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Children before parents.
    FOREACH old IN ARRAY ARRAY[
        'postings', 'transfers', 'accounts', 'red_packet_shares', 'red_packets', 'first_answers'
    ] LOOP
        EXECUTE format(
            'DELETE FROM payments.%1$I
              WHERE corp_id = $1
                AND ctid = ANY (ARRAY(
                    SELECT ctid FROM payments.%1$I WHERE corp_id = $1 LIMIT $2))', old
        ) USING gone_corp_id, maximum_rows - deleted;
        GET DIAGNOSTICS rows = ROW_COUNT;
        deleted := deleted + rows;
        EXIT WHEN deleted >= maximum_rows;
    END LOOP;
    RETURN deleted;
END
$$;

COMMENT ON FUNCTION payments.delete_kept_rows(text, integer, bigint) IS
    'Deletes rows of a corp that is gone for longer than its ledger has to be kept; returns how many.';
