"""Calls of identity that administer: each module translates between the wire and one noun's rules.

``corps``, ``corp_life`` and ``verification`` are parts of IdentityService, which ``servicer`` puts
together; ``corp_links``, ``roles`` and ``audit_log`` are gRPC services of their own.
"""
