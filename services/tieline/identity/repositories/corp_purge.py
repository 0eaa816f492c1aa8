"""Deletes what identity keeps of corps whose time of grace is over."""

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection

# Every table with a corp's rows, children before parents. What is left out, and why: `corps` keeps
# the id, `audit_entries` are kept as long as every other corp's, events and dead letters are on
# their way to others. A test compares the list with the catalog.
_DELETE = {
    "app_secrets": """
        DELETE FROM identity.app_secrets
         WHERE (corp_id, secret_id) IN (
               SELECT corp_id, secret_id FROM identity.app_secrets WHERE corp_id = $1 LIMIT $2)
    """,
    "apps": """
        DELETE FROM identity.apps
         WHERE (corp_id, agent_id) IN (
               SELECT corp_id, agent_id FROM identity.apps WHERE corp_id = $1 LIMIT $2)
    """,
    "app_numbers": """
        DELETE FROM identity.app_numbers
         WHERE corp_id IN (
               SELECT corp_id FROM identity.app_numbers WHERE corp_id = $1 LIMIT $2)
    """,
    "sessions": """
        DELETE FROM identity.sessions
         WHERE (corp_id, session_id) IN (
               SELECT corp_id, session_id FROM identity.sessions WHERE corp_id = $1 LIMIT $2)
    """,
    "invitations": """
        DELETE FROM identity.invitations
         WHERE (corp_id, user_id) IN (
               SELECT corp_id, user_id FROM identity.invitations WHERE corp_id = $1 LIMIT $2)
    """,
    "role_grants": """
        DELETE FROM identity.role_grants
         WHERE (corp_id, user_id, role) IN (
               SELECT corp_id, user_id, role FROM identity.role_grants
                WHERE corp_id = $1 LIMIT $2)
    """,
    "provider_links": """
        DELETE FROM identity.provider_links
         WHERE (corp_id, provider_id, subject) IN (
               SELECT corp_id, provider_id, subject FROM identity.provider_links
                WHERE corp_id = $1 LIMIT $2)
    """,
    "provider_flows": """
        DELETE FROM identity.provider_flows
         WHERE (corp_id, state_hash) IN (
               SELECT corp_id, state_hash FROM identity.provider_flows
                WHERE corp_id = $1 LIMIT $2)
    """,
    "sign_in_providers": """
        DELETE FROM identity.sign_in_providers
         WHERE (corp_id, provider_id) IN (
               SELECT corp_id, provider_id FROM identity.sign_in_providers
                WHERE corp_id = $1 LIMIT $2)
    """,
    "sign_in_policies": """
        DELETE FROM identity.sign_in_policies
         WHERE corp_id IN (
               SELECT corp_id FROM identity.sign_in_policies
                WHERE corp_id = $1 LIMIT $2)
    """,
    "recovery_codes": """
        DELETE FROM identity.recovery_codes
         WHERE (corp_id, user_id, code_hash) IN (
               SELECT corp_id, user_id, code_hash FROM identity.recovery_codes
                WHERE corp_id = $1 LIMIT $2)
    """,
    "second_factors": """
        DELETE FROM identity.second_factors
         WHERE (corp_id, user_id) IN (
               SELECT corp_id, user_id FROM identity.second_factors
                WHERE corp_id = $1 LIMIT $2)
    """,
    "known_addresses": """
        DELETE FROM identity.known_addresses
         WHERE (corp_id, user_id, address_key) IN (
               SELECT corp_id, user_id, address_key FROM identity.known_addresses
                WHERE corp_id = $1 LIMIT $2)
    """,
    "sign_in_tallies": """
        DELETE FROM identity.sign_in_tallies
         WHERE (corp_id, tally_key) IN (
               SELECT corp_id, tally_key FROM identity.sign_in_tallies
                WHERE corp_id = $1 LIMIT $2)
    """,
    "one_time_codes": """
        DELETE FROM identity.one_time_codes
         WHERE (corp_id, code_id) IN (
               SELECT corp_id, code_id FROM identity.one_time_codes
                WHERE corp_id = $1 LIMIT $2)
    """,
    "qr_sign_ins": """
        DELETE FROM identity.qr_sign_ins
         WHERE qr_id IN (
               SELECT qr_id FROM identity.qr_sign_ins WHERE corp_id = $1 LIMIT $2)
    """,
    "accounts": """
        DELETE FROM identity.accounts
         WHERE (corp_id, user_id) IN (
               SELECT corp_id, user_id FROM identity.accounts WHERE corp_id = $1 LIMIT $2)
    """,
    "verifications": """
        DELETE FROM identity.verifications
         WHERE corp_id IN (
               SELECT corp_id FROM identity.verifications WHERE corp_id = $1 LIMIT $2)
    """,
    "verification_requests": """
        DELETE FROM identity.verification_requests
         WHERE (corp_id, verification_request_id) IN (
               SELECT corp_id, verification_request_id FROM identity.verification_requests
                WHERE corp_id = $1 LIMIT $2)
    """,
    "corp_links": """
        DELETE FROM identity.corp_links
         WHERE (corp_id, link_id) IN (
               SELECT corp_id, link_id FROM identity.corp_links WHERE corp_id = $1 LIMIT $2)
    """,
    "first_answers": """
        DELETE FROM identity.first_answers
         WHERE (corp_id, principal_id, request_id) IN (
               SELECT corp_id, principal_id, request_id FROM identity.first_answers
                WHERE corp_id = $1 LIMIT $2)
    """,
}

PURGED_TABLES = frozenset(_DELETE)

# More than there are replicas that each may hold one.
_CANDIDATES = 50


async def lock_due_corp(connection: Connection) -> str | None:
    """Lock a corp whose time of grace is over and return its id; None if there is none.

    A corp that another replica is purging is left to it. Looks first and locks by corp: Citus locks
    no rows across nodes.
    """
    candidates = await connection.fetch(
        """
        SELECT corp_id
          FROM identity.corps
         WHERE purge_time <= now() AND delete_time IS NULL
         ORDER BY purge_time
         LIMIT $1
        """,
        _CANDIDATES,
    )
    for candidate in candidates:
        # Once more: its deletion may have been called off meanwhile.
        corp_id: str | None = await connection.fetchval(
            """
            SELECT corp_id
              FROM identity.corps
             WHERE corp_id = $1 AND purge_time <= now() AND delete_time IS NULL
               FOR NO KEY UPDATE SKIP LOCKED
            """,
            candidate["corp_id"],
        )
        if corp_id is not None:
            return corp_id
    return None


async def delete_rows(connection: Connection, corp_id: str, *, maximum_rows: int) -> int:
    """Delete at most so many rows of the locked corp; return how many."""
    deleted = 0
    for statement in _DELETE.values():
        if deleted < maximum_rows:
            status = await connection.execute(statement, corp_id, maximum_rows - deleted)
            deleted += count_rows(status)
    return deleted


async def mark_deleted(connection: Connection, corp_id: str) -> None:
    """Leave nothing of the locked corp but its id."""
    await connection.execute(
        """
        UPDATE identity.corps
           SET display_name = '', owner_user_id = '', suspend_reason = '', delete_time = now(),
               change_number = change_number + 1
         WHERE corp_id = $1
        """,
        corp_id,
    )
