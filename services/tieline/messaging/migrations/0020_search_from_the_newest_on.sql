-- Searches read each conversation from the newest message on, within bounds of time. A message keeps
-- its time, so the key has each message once as before, and there is no second index to write.
-- Expand only: the code before this finds the same, and sorts what a conversation has for it.

-- squawk-ignore ban-drop-constraint -- the next statement holds the same
ALTER TABLE messaging.searchable_messages DROP CONSTRAINT searchable_messages_pkey;
ALTER TABLE messaging.searchable_messages
    ADD CONSTRAINT searchable_messages_pkey PRIMARY KEY USING INDEX searchable_messages_key_with_time;
