-- The keys that 0017 made anew hold for the rows that were there too. Expand only.

ALTER TABLE directory.department_leaders VALIDATE CONSTRAINT department_leaders_member;
ALTER TABLE directory.tag_members VALIDATE CONSTRAINT tag_members_member;
ALTER TABLE directory.school_administrators VALIDATE CONSTRAINT school_administrators_member;
