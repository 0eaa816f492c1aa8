"""Second factors: authenticators (``totp``), recovery codes, and the ``challenges`` in between."""
