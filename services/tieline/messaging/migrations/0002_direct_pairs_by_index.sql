-- no-transaction
-- One conversation for each pair, held by an index of direct conversations alone. The constraint of
-- 0001 also had an entry for each group, by which the planner would read all of a corp's. Expand:
-- 0004 drops that constraint, which the code before this knows no more of than the code after.
DROP INDEX CONCURRENTLY IF EXISTS messaging.conversations_direct_pair_unique;

-- squawk-ignore ban-concurrent-index-creation-in-transaction -- the first line says otherwise
CREATE UNIQUE INDEX CONCURRENTLY conversations_direct_pair_unique
    ON messaging.conversations (corp_id, direct_key)
    WHERE direct_key IS NOT NULL;
