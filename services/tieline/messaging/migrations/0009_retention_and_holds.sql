-- How long messages are kept, what must not go, and what messages said before they were changed.
-- Expand only: without a policy everything is kept.
--
-- A part of stored_messages has a month of all corps. When a month is older than some corp keeps its
-- messages of some kind of conversation, what stays of the part is copied to a new one, which takes
-- its place, and the old one is dropped. What is held goes to held_messages before.

CREATE TABLE messaging.retention_policies (
    corp_id           text        COLLATE "C" NOT NULL,
    conversation_kind text        NOT NULL,
    keep_days         bigint      NOT NULL,
    update_time       timestamptz NOT NULL DEFAULT now(),
    applied_until     timestamptz NOT NULL DEFAULT '-infinity',

    CONSTRAINT retention_policies_pkey PRIMARY KEY (corp_id, conversation_kind),
    CONSTRAINT retention_policies_kind_known
        CHECK (conversation_kind IN ('direct', 'group', 'customer_group', 'app')),
    -- Few lengths: a part is copied once for each length that somebody has.
    CONSTRAINT retention_policies_days_known CHECK (keep_days IN (90, 180, 365, 1095, 2555))
);

COMMENT ON TABLE messaging.retention_policies IS
    'How long a corp keeps messages of a kind of conversation; without a row for ever.';
COMMENT ON COLUMN messaging.retention_policies.update_time IS
    'When keep_days was set. It holds a day later, so that a mistake can be taken back.';
COMMENT ON COLUMN messaging.retention_policies.applied_until IS
    'End of the newest part from which the corp''s messages were removed.';

CREATE TABLE messaging.legal_holds (
    corp_id      text        COLLATE "C" NOT NULL,
    hold_id      uuid        NOT NULL,
    scope        text        NOT NULL,
    target_id    text        COLLATE "C" NOT NULL,
    reason       text        NOT NULL,
    create_time  timestamptz NOT NULL DEFAULT now(),
    release_time timestamptz,

    CONSTRAINT legal_holds_pkey PRIMARY KEY (corp_id, hold_id),
    CONSTRAINT legal_holds_scope_known CHECK (scope IN ('corp', 'conversation', 'member'))
);

COMMENT ON COLUMN messaging.legal_holds.target_id IS
    'Conversation id, or user id in lower case; empty for the corp.';

-- Messages that retention would have removed. Their readers do not see them any more.
CREATE TABLE messaging.held_messages (
    LIKE messaging.stored_messages INCLUDING DEFAULTS INCLUDING CONSTRAINTS,

    CONSTRAINT held_messages_pkey PRIMARY KEY (corp_id, conversation_id, sequence)
);

CREATE TABLE messaging.message_versions (
    corp_id         text        COLLATE "C" NOT NULL,
    conversation_id text        COLLATE "C" NOT NULL,
    sequence        bigint      NOT NULL,
    replace_time    timestamptz NOT NULL,
    message_time    timestamptz NOT NULL,
    content         bytea       NOT NULL,

    CONSTRAINT message_versions_pkey
        PRIMARY KEY (corp_id, conversation_id, sequence, replace_time)
);

COMMENT ON TABLE messaging.message_versions IS
    'What messages said before an edit or a recall, for auditors alone.';

-- Whatever changes a message: nothing that was said is lost to auditors, and what a recalled message
-- referred to is no longer readable through it.
CREATE FUNCTION messaging.keep_version() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO messaging.message_versions
           (corp_id, conversation_id, sequence, replace_time, message_time, content)
    VALUES (OLD.corp_id, OLD.conversation_id, OLD.sequence, clock_timestamp(), OLD.create_time,
            OLD.content);
    IF NEW.recall_time IS NOT NULL AND OLD.recall_time IS NULL THEN
        DELETE FROM messaging.media_references
         WHERE corp_id = OLD.corp_id
           AND conversation_id = OLD.conversation_id
           AND sequence = OLD.sequence;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER stored_messages_keep_version
    AFTER UPDATE OF content ON messaging.stored_messages
    FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content)
    EXECUTE FUNCTION messaging.keep_version();

CREATE FUNCTION messaging.is_held(corp text, conversation text, kind text, sender text)
RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT
          FROM messaging.legal_holds AS hold
         WHERE hold.corp_id = corp AND hold.release_time IS NULL
           AND (hold.scope = 'corp'
                OR (hold.scope = 'conversation' AND hold.target_id = conversation)
                OR (hold.scope = 'member' AND kind = 'member' AND hold.target_id = sender)
                OR (hold.scope = 'member' AND EXISTS (
                    SELECT
                      FROM messaging.participants
                     WHERE participants.corp_id = corp
                       AND participants.conversation_id = conversation
                       AND participants.kind = 'member'
                       AND participants.id = hold.target_id
                )))
    )
$$;

COMMENT ON FUNCTION messaging.is_held(text, text, text, text) IS
    'Whether a hold is on a message: on its corp, its conversation, its sender or somebody in the conversation.';

-- The service's role may drop no tables; this replaces parts by what stays of them, and nothing else,
-- as the owner. One part a call. Senders and readers are locked out for the exchange alone; senders
-- into the old part, and whoever sets a hold or a policy, wait until the copy is done.
CREATE FUNCTION messaging.apply_retention(at timestamptz)
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

COMMENT ON FUNCTION messaging.apply_retention(timestamptz) IS
    'Removes from the oldest part that is due what its corps no longer keep; returns that part''s end, or nothing when none is due.';
