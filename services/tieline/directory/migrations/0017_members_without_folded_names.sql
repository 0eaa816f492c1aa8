-- Members' folded names: searches have texts of their own (search_entries), nothing reads these.
-- Expanding half: code before this writes them, code after it leaves them empty. The column goes
-- once no replica writes it.

ALTER TABLE directory.members ALTER COLUMN name_folded SET DEFAULT '';

COMMENT ON COLUMN directory.members.name_folded IS 'Read by nothing, and written no more.';

-- The keys that lead to the primary key, whose index was made before; 0018 validates them.
-- squawk-ignore ban-drop-constraint
ALTER TABLE directory.department_leaders DROP CONSTRAINT department_leaders_member;
-- squawk-ignore ban-drop-constraint
ALTER TABLE directory.tag_members DROP CONSTRAINT tag_members_member;
-- squawk-ignore ban-drop-constraint
ALTER TABLE directory.school_administrators DROP CONSTRAINT school_administrators_member;

-- squawk-ignore ban-drop-constraint
ALTER TABLE directory.members DROP CONSTRAINT members_pkey;
ALTER TABLE directory.members
    ADD CONSTRAINT members_pkey PRIMARY KEY USING INDEX members_by_key;

ALTER TABLE directory.department_leaders
    ADD CONSTRAINT department_leaders_member FOREIGN KEY (corp_id, user_id)
        REFERENCES directory.members (corp_id, user_id) NOT VALID;
ALTER TABLE directory.tag_members
    ADD CONSTRAINT tag_members_member FOREIGN KEY (corp_id, user_id)
        REFERENCES directory.members (corp_id, user_id) ON DELETE CASCADE NOT VALID;
ALTER TABLE directory.school_administrators
    ADD CONSTRAINT school_administrators_member FOREIGN KEY (corp_id, user_id)
        REFERENCES directory.members (corp_id, user_id) ON DELETE CASCADE NOT VALID;
