-- no-transaction
-- Finds the task ids that are old enough to be forgotten. Expand only. Dropped first: an attempt that
-- broke off leaves an invalid index behind.
DROP INDEX CONCURRENTLY IF EXISTS messaging.card_tasks_by_time;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY card_tasks_by_time ON messaging.card_tasks (create_time);
COMMENT ON TABLE messaging.card_tasks IS
    'Task ids of the cards that apps sent in the last 180 days.';
