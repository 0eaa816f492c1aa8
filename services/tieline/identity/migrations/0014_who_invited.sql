-- An invitation opens what its maker may invite at the moment of its use: so it says who that is.
-- Expanding: invitations of before, and those of the code before this one, have NULL and open as they
-- did, for the 7 days at most that they are good.
ALTER TABLE identity.invitations
    ADD COLUMN inviter_kind text,
    ADD COLUMN inviter_id   text;

COMMENT ON COLUMN identity.invitations.inviter_kind IS
    'member or platform_administrator; NULL where it was not kept.';
COMMENT ON COLUMN identity.invitations.inviter_id IS
    'User id within the corp, or the platform administrator''s name.';
