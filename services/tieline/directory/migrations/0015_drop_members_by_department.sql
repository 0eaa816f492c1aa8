-- no-transaction
-- Nobody reads it: who is in a department is asked of member_departments. Contracting half.
DROP INDEX CONCURRENTLY IF EXISTS directory.members_by_department;
