-- no-transaction
-- Who reports to somebody who leaves.
-- Expand only. Dropped first: an attempt that broke off leaves an invalid index behind.
DROP INDEX CONCURRENTLY IF EXISTS directory.members_by_direct_leader;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY members_by_direct_leader
    ON directory.members (corp_id, direct_leader) WHERE direct_leader <> '';
