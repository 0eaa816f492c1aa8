-- What goes with the messages that retention takes: what was said about them, once they are gone, and
-- the media of those that are held, for their readers. Expand only: until all replicas are new, older
-- ones still open the media of held messages, and leave what is to go to the new ones.

CREATE TABLE messaging.retention_cuts (
    corp_id         text   COLLATE "C" NOT NULL,
    conversation_id text   COLLATE "C" NOT NULL,
    last_sequence   bigint NOT NULL,

    CONSTRAINT retention_cuts_pkey PRIMARY KEY (corp_id, conversation_id)
);

COMMENT ON TABLE messaging.retention_cuts IS
    'Conversations of which retention has taken messages whose reactions, pins, answers and flags are still to go.';
COMMENT ON COLUMN messaging.retention_cuts.last_sequence IS
    'Number of the last message that was taken; those before it went with it or earlier.';

ALTER TABLE messaging.media_references ADD COLUMN is_readable boolean NOT NULL DEFAULT true;

COMMENT ON COLUMN messaging.media_references.is_readable IS
    'Whether who is in the conversation may open the medium by this message. If not, the message is gone for readers and kept for a hold and for auditors.';

-- Those of messages that were taken before.
UPDATE messaging.media_references AS reference
   SET is_readable = false
  FROM messaging.held_messages AS kept
 WHERE kept.corp_id = reference.corp_id
   AND kept.conversation_id = reference.conversation_id
   AND kept.sequence = reference.sequence;

-- The service's role may drop no tables; this replaces parts by what stays of them, and nothing else,
-- as the owner. One part a call. Senders and readers are locked out for the exchange alone, which comes
-- last; senders into the old part, and whoever sets a hold or a policy, wait until the copy is done.
CREATE OR REPLACE FUNCTION messaging.apply_retention(at timestamptz)
RETURNS TABLE (part_end timestamptz, removed bigint, held bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    old          record;
    due_corps    text[];
    due_kinds    text[];
    all_columns  text;
    held_columns text;
    new_name     text;
    bounds_check text;
    expired      constant text := 'EXISTS (
        SELECT
          FROM messaging.conversations AS c
          JOIN unnest($1::text[], $2::text[]) AS due (corp_id, kind)
            ON due.corp_id = c.corp_id AND due.kind = c.kind
         WHERE c.corp_id = m.corp_id AND c.conversation_id = m.conversation_id)';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tieline.messaging.message_parts', 0));
    -- What is acknowledged is seen here; what comes now waits.
    LOCK TABLE messaging.retention_policies, messaging.legal_holds IN SHARE ROW EXCLUSIVE MODE;
    SELECT parts.*
      INTO old
      FROM (
           SELECT part.relname AS name, pg_get_expr(part.relpartbound, part.oid) AS bounds,
                  (regexp_match(pg_get_expr(part.relpartbound, part.oid),
                                'FROM \(''([^'']+)''\)'))[1]::timestamptz AS starts,
                  (regexp_match(pg_get_expr(part.relpartbound, part.oid),
                                'TO \(''([^'']+)''\)'))[1]::timestamptz AS ends
             FROM pg_inherits
             JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid
            WHERE pg_inherits.inhparent = 'messaging.stored_messages'::regclass
      ) AS parts
     WHERE EXISTS (
           SELECT
             FROM messaging.retention_policies AS policy
            WHERE policy.applied_until < parts.ends
              AND policy.update_time <= at - interval '1 day'
              AND parts.ends <= at - make_interval(days => policy.keep_days::integer)
     )
     ORDER BY parts.ends
     LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT array_agg(policy.corp_id), array_agg(policy.conversation_kind)
      INTO due_corps, due_kinds
      FROM messaging.retention_policies AS policy
     WHERE policy.applied_until < old.ends
       AND policy.update_time <= at - interval '1 day'
       AND old.ends <= at - make_interval(days => policy.keep_days::integer);

    EXECUTE format('LOCK TABLE messaging.%I IN SHARE ROW EXCLUSIVE MODE', old.name);
    EXECUTE format('SELECT count(*) FROM messaging.%I AS m WHERE %s', old.name, expired)
       INTO removed USING due_corps, due_kinds;
    held := 0;
    IF removed > 0 THEN
        SELECT string_agg(quote_ident(ours.attname), ', ' ORDER BY ours.attnum),
               string_agg(quote_ident(theirs.attname), ', ' ORDER BY ours.attnum)
          INTO all_columns, held_columns
          FROM pg_attribute AS ours
          LEFT JOIN pg_attribute AS theirs
            ON theirs.attrelid = 'messaging.held_messages'::regclass
           AND theirs.attname = ours.attname AND NOT theirs.attisdropped
         WHERE ours.attrelid = 'messaging.stored_messages'::regclass
           AND ours.attnum > 0 AND NOT ours.attisdropped AND ours.attgenerated = '';
        EXECUTE format(
            'INSERT INTO messaging.held_messages (%1$s)
             SELECT %1$s FROM messaging.%2$I AS m
              WHERE %3$s
                AND messaging.is_held(corp_id, conversation_id, sender_kind, sender_id)
             ON CONFLICT ON CONSTRAINT held_messages_pkey DO NOTHING',
            held_columns, old.name, expired
        ) USING due_corps, due_kinds;
        GET DIAGNOSTICS held = ROW_COUNT;

        new_name := format('stored_messages_to_%s_%s', to_char(old.ends, 'YYYY_MM'),
                           pg_current_xact_id());
        EXECUTE format(
            'CREATE TABLE messaging.%I (LIKE messaging.stored_messages INCLUDING ALL)', new_name
        );
        EXECUTE format(
            'INSERT INTO messaging.%1$I (%2$s)
             SELECT %2$s FROM messaging.%3$I AS m WHERE NOT %4$s',
            new_name, all_columns, old.name, expired
        ) USING due_corps, due_kinds;
        -- Nothing comes to these meanwhile: what writes them first writes into the old part.
        DELETE FROM messaging.media_references AS reference
         USING messaging.conversations AS c,
               unnest(due_corps, due_kinds) AS due (corp_id, kind)
         WHERE due.corp_id = reference.corp_id
           AND c.corp_id = reference.corp_id AND c.conversation_id = reference.conversation_id
           AND c.kind = due.kind
           AND reference.message_time < old.ends
           AND NOT EXISTS (
               SELECT
                 FROM messaging.held_messages AS kept
                WHERE kept.corp_id = reference.corp_id
                  AND kept.conversation_id = reference.conversation_id
                  AND kept.sequence = reference.sequence
           );
        -- What is left is of held messages.
        UPDATE messaging.media_references AS reference
           SET is_readable = false
          FROM messaging.conversations AS c,
               unnest(due_corps, due_kinds) AS due (corp_id, kind)
         WHERE due.corp_id = reference.corp_id
           AND c.corp_id = reference.corp_id AND c.conversation_id = reference.conversation_id
           AND c.kind = due.kind
           AND reference.message_time < old.ends AND reference.is_readable;
        DELETE FROM messaging.message_versions AS version
         USING messaging.conversations AS c,
               unnest(due_corps, due_kinds) AS due (corp_id, kind)
         WHERE due.corp_id = version.corp_id
           AND c.corp_id = version.corp_id AND c.conversation_id = version.conversation_id
           AND c.kind = due.kind
           AND version.message_time < old.ends
           AND NOT EXISTS (
               SELECT
                 FROM messaging.held_messages AS kept
                WHERE kept.corp_id = version.corp_id
                  AND kept.conversation_id = version.conversation_id
                  AND kept.sequence = version.sequence
           );
        EXECUTE format(
            'INSERT INTO messaging.retention_cuts AS cut (corp_id, conversation_id, last_sequence)
             SELECT corp_id, conversation_id, max(sequence) FROM messaging.%I AS m WHERE %s
              GROUP BY corp_id, conversation_id
             ON CONFLICT ON CONSTRAINT retention_cuts_pkey
             DO UPDATE SET last_sequence = greatest(cut.last_sequence, excluded.last_sequence)',
            old.name, expired
        ) USING due_corps, due_kinds;

        -- Proves the bounds before the exchange, which then has nothing to read.
        bounds_check := format('create_time < %L', old.ends);
        IF old.starts IS NOT NULL THEN
            bounds_check := format('%s AND create_time >= %L', bounds_check, old.starts);
        END IF;
        EXECUTE format(
            'ALTER TABLE messaging.%I ADD CONSTRAINT within_bounds CHECK (%s)',
            new_name, bounds_check
        );
        EXECUTE format('ALTER TABLE messaging.stored_messages DETACH PARTITION messaging.%I',
                       old.name);
        EXECUTE format('DROP TABLE messaging.%I', old.name);
        EXECUTE format('ALTER TABLE messaging.stored_messages ATTACH PARTITION messaging.%I %s',
                       new_name, old.bounds);
        EXECUTE format('ALTER TABLE messaging.%I DROP CONSTRAINT within_bounds', new_name);
    END IF;
    UPDATE messaging.retention_policies AS policy
       SET applied_until = old.ends
     WHERE policy.applied_until < old.ends
       AND policy.update_time <= at - interval '1 day'
       AND old.ends <= at - make_interval(days => policy.keep_days::integer);
    part_end := old.ends;
    RETURN NEXT;
END
$$;
