"""Passwords as PostgreSQL stores them."""

import base64

from tieline.cli.preparation import scram_verifier


def test_verifier_is_the_one_of_the_rfcs_example() -> None:
    # RFC 7677, section 3: user "user", password "pencil"; keys derived from its salt.
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")

    assert scram_verifier("pencil", salt) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
