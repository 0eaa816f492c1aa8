-- A device that was let in by a QR code gets its session only while the session that let it in is
-- open: so the sign-in says which that is. Expanding: what the code before this one approved has NULL
-- and opens as it did, for the 2 minutes at most that it is good.
ALTER TABLE identity.qr_sign_ins ADD COLUMN session_id uuid;

COMMENT ON COLUMN identity.qr_sign_ins.session_id IS
    'The session that approved it; NULL before that, and where it was not kept.';
