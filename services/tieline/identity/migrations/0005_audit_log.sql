-- The audit log, a partition for each month (UTC). The service's role inserts and reads; it can
-- neither change an entry nor delete one, nor reach a partition by its own name. Partitions are
-- made and dropped by the function below, which runs with its owner's rights and keeps half a year
-- whatever it is asked for. Expand only: nothing reads this yet.

CREATE TABLE identity.audit_entries (
    corp_id    text        NOT NULL,
    act_time   timestamptz NOT NULL,
    event_id   uuid        NOT NULL,
    actor_kind text        NOT NULL,
    actor_id   text        NOT NULL,
    action     text        NOT NULL,
    resource   text        NOT NULL,
    details    jsonb       NOT NULL,
    address    text        NOT NULL,
    request_id text        NOT NULL,

    CONSTRAINT audit_entries_pkey PRIMARY KEY (corp_id, act_time, event_id)
) PARTITION BY RANGE (act_time);

COMMENT ON COLUMN identity.audit_entries.corp_id IS
    'Empty for the platform''s log. No foreign key: the entries outlive the corp.';
COMMENT ON COLUMN identity.audit_entries.actor_kind IS 'Empty for the platform itself.';

-- ListAuditEntries of one party, of one resource; without either it reads the primary key backwards.
CREATE INDEX audit_entries_by_actor
    ON identity.audit_entries (corp_id, actor_id, act_time, event_id);
CREATE INDEX audit_entries_by_resource
    ON identity.audit_entries (corp_id, resource, act_time, event_id);

REVOKE ALL ON identity.audit_entries FROM tieline_identity;
GRANT SELECT, INSERT ON identity.audit_entries TO tieline_identity;

-- Makes the partitions of the last month (events may be a week late) to the one after next, and
-- drops those of which every entry is older than the days given, 180 at least. A repeat changes
-- nothing. Returns the names of the partitions dropped.
CREATE FUNCTION identity.keep_audit_partitions(retention_days integer) RETURNS text[]
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this_month CONSTANT timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    oldest_kept CONSTANT timestamp :=
        now() AT TIME ZONE 'UTC' - make_interval(days => greatest(retention_days, 180));
    month timestamp;
    name text;
    dropped text[] := '{}';
BEGIN
    -- Replicas take turns.
    PERFORM pg_advisory_xact_lock(hashtext('identity.audit_entries'));
    FOR months IN -1..2 LOOP
        month := this_month + make_interval(months => months);
        name := 'audit_entries_' || to_char(month, 'YYYYMM');
        IF to_regclass('identity.' || name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE identity.%I PARTITION OF identity.audit_entries '
                'FOR VALUES FROM (%L) TO (%L)',
                name, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
            EXECUTE format('REVOKE ALL ON identity.%I FROM tieline_identity', name);
        END IF;
    END LOOP;
    FOR name IN
        SELECT c.relname
          FROM pg_inherits i
          JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'identity.audit_entries'::regclass
           AND c.relname < 'audit_entries_' || to_char(oldest_kept, 'YYYYMM')
         ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE identity.%I', name);
        dropped := dropped || name;
    END LOOP;
    RETURN dropped;
END
$$;

SELECT identity.keep_audit_partitions(180);
