-- Platform administrators have a second factor too: its rows have an empty corp_id and the
-- administrator's name, who is no account. Whoever deletes an account deletes its second factor
-- first, and has since 0006, so nothing relied on the cascade; an enrolment locks its owner.
-- Expanding: the code before this one runs on it as it did.
-- squawk-ignore ban-drop-constraint
ALTER TABLE identity.second_factors DROP CONSTRAINT second_factors_account;

COMMENT ON COLUMN identity.second_factors.corp_id IS
    'Empty for platform administrators, whose name is the user_id.';
