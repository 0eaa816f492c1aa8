"""Every statement on a tenant table picks a corp: so a Citus cluster sends it to one node.

Read from the source: every text of the code that is a statement on a table of a service's schema.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tieline.chassis.distribution import GLOBAL_TABLES
from tieline.chassis.streams import SERVICES

SCAN = "looks for whose turn it is among all corps; each is then worked on by itself"
LOCKING_SCAN = "as a scan, and locks what it finds, which Citus refuses: docs/operations/citus.md"

# Functions with a statement that goes to every node, each with its reason.
EXCEPTIONS = {
    "chassis.dead_letters.list_dead_letters": "an operator lists what was given up, of all corps",
    "chassis.events._Statements.__init__": "the purge of the inbox goes by age",
    "chassis.outbox._Statements.__init__": "the relay takes the oldest events of all corps",
    "directory.repositories.changes.list_old_removals": SCAN,
    "directory.repositories.corp_purge.lock_deleted_corp": LOCKING_SCAN,
    "directory.repositories.search_index.list_waiting_corps": SCAN,
    "identity.repositories.corp_purge.lock_due_corp": LOCKING_SCAN,
    "messaging.repositories.corps.CorpRepository.list_suspended": "read once at the start",
    "messaging.repositories.corps.CorpRepository.lock_deleted_corp": LOCKING_SCAN,
    "messaging.repositories.corps.CorpRepository.lock_departures": LOCKING_SCAN,
    "messaging.repositories.media.MediaRepository.remove_expired": LOCKING_SCAN,
    "messaging.repositories.media.UploadRepository.list_expired": SCAN,
    "messaging.repositories.sensitive_words.SensitiveWordRepository.list_versions": SCAN,
    "messaging.repositories.search.SearchRepository.measure": "reads the size of the table",
    "messaging.repositories.push_targets.PushTargetRepository._end_customers": (
        "a customer has devices in several corps"
    ),
    "payments.repositories.ledger.find_next_corp": SCAN,
}

ROOT = Path(__file__).parents[2] / "services" / "tieline"

_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b")
_TABLE = re.compile(rf"(?:\b(?:{'|'.join(SERVICES)})|§)\.[a-z_]+\b(?!\s*\()")

# Compared with something, matched with rows that have it, or given to a row that is written.
_PICKS_A_CORP = re.compile(
    r"corp_id(\s+COLLATE\s+\S+)?\s*(=|IN\b)|USING\s*\(\s*corp_id|\(\s*corp_id\s*,"
    r"|INSERT INTO \S+\s*\([^)]*corp_id"
)


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


def test_statements_are_found_at_all() -> None:
    assert len(list(statements())) > 300
