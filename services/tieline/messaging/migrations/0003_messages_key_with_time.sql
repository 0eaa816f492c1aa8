-- no-transaction
-- The key that messages have as a part of stored_messages (0004), built while they are in use.
-- Expand only: nothing reads it yet.
DROP INDEX CONCURRENTLY IF EXISTS messaging.messages_key_with_time;

-- squawk-ignore ban-concurrent-index-creation-in-transaction -- the first line says otherwise
CREATE UNIQUE INDEX CONCURRENTLY messages_key_with_time
    ON messaging.messages (corp_id, conversation_id, sequence, create_time);
