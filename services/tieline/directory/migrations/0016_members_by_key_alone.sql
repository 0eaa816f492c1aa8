-- no-transaction
-- The next primary key of members, without the folded name that no search reads any more.
-- Expand only. Dropped first: an attempt that broke off leaves an invalid index behind; one that
-- 0017 has made the primary key has its name no more.
DROP INDEX CONCURRENTLY IF EXISTS directory.members_by_key;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE UNIQUE INDEX CONCURRENTLY members_by_key ON directory.members (corp_id, user_id);
