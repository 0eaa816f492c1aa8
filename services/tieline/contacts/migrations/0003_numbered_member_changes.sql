-- Who comes into a customer group and leaves it is numbered, so that events that are handled late are
-- known as late. Expand only: older code leaves the number as it is, and 0 in its events.

ALTER TABLE contacts.customer_groups ADD COLUMN member_change_count bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN contacts.customer_groups.member_change_count IS
    'How often somebody came or left: the number of the last change. Not of the owner, who is in from the beginning.';
