-- no-transaction
-- How many messages an app sent into one conversation within the last minute and hour.
-- Expand only. Dropped first: an attempt that broke off leaves an invalid index behind.
DROP INDEX CONCURRENTLY IF EXISTS messaging.recent_sends_of_apps;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY recent_sends_of_apps
    ON messaging.recent_sends (corp_id, conversation_id, sender_id, create_time)
    WHERE sender_kind = 'app';
