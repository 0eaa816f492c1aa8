-- A hold on a member stays on the conversations that the member leaves while it is in force: by
-- leaving, or by being taken out, messages that were held went. Expand only: until all replicas are
-- new, older ones note no departures.

CREATE TABLE messaging.held_departures (
    corp_id         text COLLATE "C" NOT NULL,
    conversation_id text COLLATE "C" NOT NULL,
    hold_id         uuid NOT NULL,

    CONSTRAINT held_departures_pkey PRIMARY KEY (corp_id, conversation_id, hold_id)
);

COMMENT ON TABLE messaging.held_departures IS
    'Conversations that the member whom a hold is on left while it was in force.';

CREATE OR REPLACE FUNCTION messaging.is_held(corp text, conversation text, kind text, sender text)
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
                ))
                OR (hold.scope = 'member' AND EXISTS (
                    SELECT
                      FROM messaging.held_departures AS departure
                     WHERE departure.corp_id = corp
                       AND departure.conversation_id = conversation
                       AND departure.hold_id = hold.hold_id
                )))
    )
$$;

COMMENT ON FUNCTION messaging.is_held(text, text, text, text) IS
    'Whether a hold is on a message: on its corp, its conversation, its sender or somebody who is in the conversation, or was in it while the hold was in force.';
