"""The ways in by password, invitation, assertion or refresh token, and the door behind all ways.

Members get in through ``entrance`` alone, which asks for the second factor; ``attempts`` holds
guessers back (``lockout``); ``ways_in`` puts it together. Ways with more to them have packages of
their own: ``one_time_codes``, ``qr_codes``, ``providers``.
"""
