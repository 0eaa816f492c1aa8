-- An import's rows are checked once, by the writer, and not a second time each by a trigger: the
-- three keys below took a third of what PostgreSQL spends on an import. Contracting half; older code
-- needs none of them.
--
-- What they held is held by the lock of the corp's row, which whoever writes members or departments
-- has: within it departments are looked up before members are put into them (import_writes and
-- member_changes), a department is deleted only where nobody is in it (department_changes and
-- department_replacement), and members are deleted with their corp alone, after their places. Rows
-- that are few, as tags' members and departments' leaders, keep their keys.

-- squawk-ignore ban-drop-constraint
ALTER TABLE directory.members DROP CONSTRAINT IF EXISTS members_department;
-- squawk-ignore ban-drop-constraint
ALTER TABLE directory.member_departments DROP CONSTRAINT IF EXISTS member_departments_member;
-- squawk-ignore ban-drop-constraint
ALTER TABLE directory.member_departments DROP CONSTRAINT IF EXISTS member_departments_department;
