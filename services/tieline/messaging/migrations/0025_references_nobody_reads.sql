-- no-transaction
-- Finds references of messages that are gone for their readers: each replica looks every hour, among
-- all of them they are few. Expand only. What an interrupted run left is invalid and built anew.

DROP INDEX CONCURRENTLY IF EXISTS messaging.media_references_unread;

-- squawk-ignore ban-concurrent-index-creation-in-transaction -- the first line says otherwise
CREATE INDEX CONCURRENTLY media_references_unread
    ON messaging.media_references (corp_id, conversation_id, sequence)
    WHERE NOT is_readable;
