-- What sort of device waits to be let in by a QR code, for the session that it gets. Expand only:
-- code that does not know the column leaves it at its default.

ALTER TABLE identity.qr_sign_ins ADD COLUMN device_platform bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN identity.qr_sign_ins.device_platform IS
    'Number of the DevicePlatform in the proto.';
