"""Sign-in by a corp's OpenID Connect provider.

``client`` talks to providers over ``guarded_http``; what of their ``answers`` is accepted is pure.
"""
