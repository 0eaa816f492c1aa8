"""The schema of payments, one file a step, applied in order by ``tieline migrate``."""
