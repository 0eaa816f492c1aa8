"""The schema of contacts, one file a step, applied in order by ``tieline migrate``."""
