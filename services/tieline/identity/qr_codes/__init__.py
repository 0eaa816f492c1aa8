"""Sign-in by a QR code: a signed-in member scans what another device shows."""
