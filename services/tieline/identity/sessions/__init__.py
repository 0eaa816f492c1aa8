"""Sessions: their tokens and devices, and how they end.

``issuer`` opens and refreshes them; whatever ends one, or changes what somebody may do, voids
access tokens by ``revocations``.
"""
