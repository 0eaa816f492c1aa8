-- no-transaction
-- The key of what finds messages with the time before the number (0020), built while it is in use.
-- Expand only: nothing reads it yet.
DROP INDEX CONCURRENTLY IF EXISTS messaging.searchable_messages_key_with_time;

-- squawk-ignore ban-concurrent-index-creation-in-transaction -- the first line says otherwise
CREATE UNIQUE INDEX CONCURRENTLY searchable_messages_key_with_time
    ON messaging.searchable_messages (corp_id, conversation_id, create_time, sequence);
