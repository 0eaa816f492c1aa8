"""What a revocation waits for, and the time that it names.

Whoever issues a token holds the same rows (``accounts.lock_account``, ``corps.share_corp``, at a
refresh ``refreshing.lock_session``) until its transaction ends, and takes the time of issue under
those locks. So a token was either issued
before the revocation, or for somebody as the revoking transaction left them; none slips through
between.

Rows are locked in this order: account, sessions, corp. A revocation of one session, or
of what no member holds, needs no more than the row that its reason changes.
"""

import datetime as dt

from tieline.chassis.postgres import Connection


async def lock_member(connection: Connection, corp_id: str, user_id: str) -> None:
    """Wait for tokens of the member that are being issued; hold back new ones."""
    await connection.execute(
        """
        SELECT 1
          FROM identity.accounts
         WHERE corp_id = $1 AND user_id = $2
           FOR UPDATE
        """,
        corp_id,
        user_id,
    )


async def lock_corp(connection: Connection, corp_id: str) -> None:
    """Wait for tokens of everybody in the corp that are being issued; hold back new ones.

    Who issues holds the corp by ``corps.share_corp``. NO KEY: rows that refer to the corp's can
    still be written.
    """
    await connection.execute(
        "SELECT 1 FROM identity.corps WHERE corp_id = $1 FOR NO KEY UPDATE", corp_id
    )


async def read_time(connection: Connection) -> dt.datetime:
    """Return the database's time of this moment, not of the transaction's begin."""
    now = await connection.fetchval("SELECT clock_timestamp()")
    assert isinstance(now, dt.datetime), "the clock gives a time"
    return now
