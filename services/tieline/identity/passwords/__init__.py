"""Passwords: their ``hashing`` in threads of its own, their ``change``, their ``calibration``."""
