"""The audit log: what is kept of an entry (``log``), its ``export``, entries of ``refusals``."""
