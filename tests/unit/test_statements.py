"""Every statement on a tenant table picks a corp: so a Citus cluster sends it to one node.

Read from the source: every text of the code that is a statement on a table of a service's schema.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tieline.chassis.distribution import GLOBAL_TABLES
from tieline.chassis.streams import SERVICES

SCAN = "looks for whose turn it is among all corps; each is then worked on by itself"
PURGE = "deletes the oldest of all corps, a batch at a time"
CLAIM = "takes the next of all corps"
BATCH = "locks by their keys what the calls of one batch need, which are of several corps"

# Functions with a statement that goes to every node, each with its reason.
EXCEPTIONS = {
    "chassis.corps_purge.lock_deleted_corp": SCAN,
    "chassis.dead_letters.list_dead_letters": "an operator lists what was given up, of all corps",
    "chassis.events._Statements.__init__": "the purge of the inbox goes by age",
    "chassis.outbox._Statements.__init__": "the relay takes the oldest events of all corps",
    "directory.repositories.changes.list_old_removals": SCAN,
    "directory.repositories.search_index.list_waiting_corps": SCAN,
    "identity.repositories.corp_purge.lock_due_corp": SCAN,
    "messaging.repositories.corps.CorpRepository.list_suspended": "read once at the start",
    "messaging.repositories.corps.CorpRepository.lock_departures": SCAN,
    "messaging.repositories.media.MediaRepository.remove_expired": SCAN,
    "messaging.repositories.retention.RetentionRepository.delete_details": SCAN,
    "messaging.repositories.uploads.UploadRepository.list_expired": SCAN,
    "messaging.repositories.sensitive_words.SensitiveWordRepository.list_versions": SCAN,
    "messaging.repositories.search.SearchRepository.measure": "reads the size of the table",
    "messaging.repositories.push_targets.PushTargetRepository._end_customers": (
        "a customer has devices in several corps"
    ),
}

# Functions that lock rows of several corps in one statement. Citus refuses that across nodes: what
# stands here fails there (docs/operations/citus.md).
LOCKS_OF_MANY_CORPS = {
    "identity.repositories.apps.delete_expired_secrets": PURGE,
    "identity.repositories.one_time_codes.claim_delivery": CLAIM,
    "identity.repositories.one_time_codes.delete_ended": PURGE,
    "identity.repositories.providers.delete_ended_flows": PURGE,
    "identity.repositories.sessions.delete_over": PURGE,
    "identity.repositories.tallies.delete_decayed": PURGE,
    "identity.repositories.tallies.delete_forgotten_addresses": PURGE,
    "messaging.repositories.app_messages.AppMessageRepository.claim": CLAIM,
    "messaging.repositories.app_messages.AppMessageRepository.delete_old": PURGE,
    "messaging.repositories.card_tasks.delete_old_tasks": PURGE,
    "messaging.repositories.messages": BATCH,
    "messaging.repositories.messages.MessageRepository.lock_counters": BATCH,
    "messaging.repositories.overviews.delete_old_mentions": PURGE,
    "messaging.repositories.push_targets.PushTargetRepository.delete_old": PURGE,
    "messaging.repositories.push_targets.PushTargetRepository.note_connected": BATCH,
    "messaging.repositories.pushes.PushRepository.claim_due": CLAIM,
    "messaging.repositories.pushes.PushRepository.delete_settled": PURGE,
    "messaging.repositories.pushes.PushRepository.settle": BATCH,
    "messaging.repositories.reading.ReadingRepository.lock_revisions": BATCH,
    "messaging.repositories.retention.RetentionRepository.delete_released": PURGE,
    "messaging.repositories.retention.RetentionRepository.delete_search_rows": PURGE,
    "messaging.repositories.retention.RetentionRepository.delete_unread_references": PURGE,
    "messaging.repositories.scheduled_messages.ScheduledMessageRepository.claim_due": CLAIM,
    "messaging.repositories.scheduled_messages.ScheduledMessageRepository.lock_unchanged": BATCH,
    "messaging.repositories.send_look_ups.SendLookUps._lock_and_read": BATCH,
    "messaging.repositories.upkeep.UpkeepRepository.delete_old_sends": PURGE,
}

ROOT = Path(__file__).parents[2] / "services" / "tieline"

_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b")
_TABLE = re.compile(rf"(?:\b(?:{'|'.join(SERVICES)})|§)\.(?:[a-z_]+\b|§)(?!\s*\()")

# Compared with something, matched with rows that have it, or given to a row that is written.
_PICKS_A_CORP = re.compile(
    r"corp_id(\s+COLLATE\s+\S+)?\s*(=|IN\b)|USING\s*\(\s*corp_id|\(\s*corp_id\s*,"
    r"|INSERT INTO \S+\s*\([^)]*corp_id"
)


_LOCK = re.compile(r"\bFOR (NO KEY )?(UPDATE|SHARE)\b")
_ONE_CORP = re.compile(r"corp_id\s*=\s*\$\d")


def statements() -> Iterator[tuple[str, str]]:
    """Yield each statement of the code with the function that it stands in."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield from _in(tree, module)


def _in(node: ast.AST, where: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        text = _text(child)
        if text is not None:
            if _STATEMENT.match(text):
                yield where, text
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _in(child, f"{where}.{child.name}")
        else:
            yield from _in(child, where)


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (each.value if isinstance(each, ast.Constant) else "§" for each in node.values)
        return "".join(map(str, parts))
    return None


def scans() -> set[str]:
    """Return the functions with a statement on a tenant table that picks no corp."""
    found = set()
    for where, text in statements():
        tables = {match[0] for match in _TABLE.finditer(text)} - GLOBAL_TABLES.keys()
        tables = {table for table in tables if not table.endswith(".schema_migrations")}
        if tables and not _PICKS_A_CORP.search(text):
            found.add(where)
    return found


def test_every_statement_on_a_tenant_table_picks_a_corp() -> None:
    assert scans() == EXCEPTIONS.keys()


def locks_of_many_corps() -> set[str]:
    """Return the functions with a statement that locks rows of a tenant table of several corps."""
    found = set()
    for where, text in statements():
        for lock in _LOCK.finditer(text):
            query = _own_text(text[: lock.start()])
            tables = {match[0] for match in _TABLE.finditer(query)} - GLOBAL_TABLES.keys()
            if tables and not _ONE_CORP.search(query):
                found.add(where)
    return found


def _own_text(text: str) -> str:
    """Return the query that the text ends in, from its SELECT on, without queries within it."""
    depth, own = 0, ""
    for character in reversed(text):
        if character == ")":
            depth += 1
        # A bracket stays, so that what stood around it does not run together.
        if (depth <= 1 and character in "()") or depth == 0:
            own = character + own
        if character == "(":
            depth -= 1
            if depth < 0:
                return own[1:]
    return own


def test_rows_of_several_corps_are_locked_nowhere_else() -> None:
    assert locks_of_many_corps() == LOCKS_OF_MANY_CORPS.keys()


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("SELECT a FROM b WHERE c IN (SELECT d)", "SELECT a FROM b WHERE c IN ()"),
        ("DELETE FROM a WHERE b IN (SELECT c FROM d LIMIT 1", "SELECT c FROM d LIMIT 1"),
    ],
)
def test_a_lock_belongs_to_the_query_that_it_ends(text: str, own: str) -> None:
    assert _own_text(text) == own


def test_statements_are_found_at_all() -> None:
    assert len(list(statements())) > 300
