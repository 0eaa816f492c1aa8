"""The files that make a service's schema, and how the history of a database fits them: pure.

A service's migrations are plain files ``NNNN_what_it_adds.sql`` in its ``migrations`` folder. The
chassis has its own, with ``{schema}`` for the service's name, applied to each schema first.

A migration expands: code that does not know it runs on the result, so that the release before can
be gone back to. One after which such code can't run contracts, and says so in its name,
``NNNN_contract_what_it_takes.sql``. The name stands in the database, where code that does not have
the file reads it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

CHASSIS = "chassis"

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_CONTRACTING_NAME = re.compile(r"\d{4}_contract_")
# What may run again after it broke off: an index that is dropped before it is built. One whose
# building broke off is there, invalid, and IF NOT EXISTS would keep it.
_REPEATABLE = re.compile(
    r"DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\s+(?P<dropped>[\w.]+)"
    r"|CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?P<built>\w+)\s+ON\s+(?P<schema>\w+)\."
    r"|COMMENT\s+ON\s"
)
_SERVICE_NAME = re.compile(r"[a-z][a-z_]{0,40}")


class MigrationError(Exception):
    """Why the schemas are not, or can't be made, what this code needs: one line, with a way out."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, for one schema."""

    schema: str
    component: str
    """``chassis``, or the service."""

    version: int
    file_name: str
    sql: str

    @property
    def name(self) -> str:
        """How reports and ``--rerun`` call it: ``identity/0003``, ``identity/chassis/0001``."""
        prefix = self.schema if self.component == self.schema else f"{self.schema}/{CHASSIS}"
        return f"{prefix}/{self.version:04d}"

    @property
    def checksum(self) -> str:
        """SHA-256 of the file as it is applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def is_contracting(self) -> bool:
        """Whether code that does not know it can't run on the result."""
        return is_contracting(self.file_name)

    @property
    def is_transactional(self) -> bool:
        """Whether it runs in one transaction."""
        return self.sql.partition("\n")[0].strip() != "-- no-transaction"

    @property
    def statements(self) -> list[str]:
        """One by one: several sent together are one transaction to the server, asked for or not."""
        return [part for part in re.split(r"(?<=;)[ \t]*\n", self.sql) if part.strip(" \t\n")]

    @property
    def is_repeatable(self) -> bool:
        """Whether it runs without transaction, and again by itself where it stopped halfway.

        It builds indexes that it drops first, and nothing else: nobody has to wait for it.
        """
        dropped: set[str] = set()
        for statement in self.statements:
            match = _REPEATABLE.match(re.sub(r"(?m)^\s*--.*\n", "", statement).lstrip())
            if match is None or (
                match["built"] and f"{match['schema']}.{match['built']}" not in dropped
            ):
                return False
            dropped.add(match["dropped"])
        return not self.is_transactional


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of ``schema_migrations``, of this code or of newer."""

    component: str
    version: int
    file_name: str
    checksum: str
    is_finished: bool
    """False while it runs, and where one without transaction stopped halfway."""


def load_migrations(service: str) -> list[Migration]:
    """Return the chassis' migrations and the service's, in the order in which they apply."""
    check_name(service)
    return [
        *_load_folder(service, CHASSIS, "tieline.chassis", "chassis_migrations"),
        *_load_folder(service, service, f"tieline.{service}", "migrations"),
    ]


def is_contracting(file_name: str) -> bool:
    """Tell by its name whether a migration, perhaps one of newer code, contracts."""
    return _CONTRACTING_NAME.match(file_name) is not None


def check_history(
    migrations: Sequence[Migration], history: Sequence[Applied], rerun: str | None = None
) -> set[Migration]:
    """Return which migrations are done, or raise MigrationError where the history does not fit.

    What newer code expanded is left alone.
    """
    known = {(m.component, m.version): m for m in migrations}
    done = set()
    for applied in history:
        migration = known.get((applied.component, applied.version))
        if migration is None:
            _check_unknown(applied)
            continue
        if applied.checksum != migration.checksum:
            raise MigrationError(
                f"migration {migration.name} ({migration.file_name}) was edited after it was "
                "applied; restore the file and put the change into a new one"
            )
        if not (applied.is_finished or migration.is_repeatable or migration.name == rerun):
            raise MigrationError(
                f"migration {migration.name} ({migration.file_name}) stopped halfway; "
                f"run `tieline migrate --rerun {migration.name}`"
            )
        if applied.is_finished:
            done.add(migration)
    return done


def choose_missing(
    migrations: Sequence[Migration],
    history: Sequence[Applied],
    *,
    contract: bool,
    rerun: str | None = None,
) -> list[Migration]:
    """Return what is to be applied, in order; MigrationError where the history does not fit.

    Without ``contract`` the contracting ones wait, except in a new schema, where no older code is.
    """
    done = check_history(migrations, history, rerun)
    takes_all = contract or not history
    return [
        migration
        for migration in migrations
        if migration not in done
        and (takes_all or not migration.is_contracting or migration.name == rerun)
    ]


def check_served(migrations: Sequence[Migration], history: Sequence[Applied]) -> None:
    """Raise MigrationError unless code with these migrations can serve a schema of this history."""
    present = {(each.component, each.version) for each in history if each.is_finished}
    for migration in migrations:
        if migration.is_contracting or (migration.component, migration.version) in present:
            continue
        raise MigrationError(
            f"schema {migration.schema} lacks the migration {migration.name} "
            f"({migration.file_name}): run `tieline migrate`"
        )
    known = {(migration.component, migration.version) for migration in migrations}
    for applied in history:
        if (applied.component, applied.version) not in known:
            _check_unknown(applied)


def _check_unknown(applied: Applied) -> None:
    if is_contracting(applied.file_name):
        raise MigrationError(
            f"the database is newer than this code: {applied.file_name} took away what this code "
            "needs; use the version of tieline that brought it, or a later one"
        )


def check_name(service: str) -> None:
    """Fail where it can't stand in a statement as it is."""
    assert _SERVICE_NAME.fullmatch(service), f"{service!r} can't name a schema"


def _load_folder(schema: str, component: str, package: str, folder: str) -> list[Migration]:
    root = resources.files(package) / folder
    if not root.is_dir():
        return []
    names = sorted(entry.name for entry in root.iterdir() if entry.name.endswith(".sql"))
    migrations = []
    for expected, name in enumerate(names, start=1):
        match = _FILE_NAME.fullmatch(name)
        if match is None or int(match.group(1)) != expected:
            raise MigrationError(
                f"migration {component}/{name} is out of order: expected {expected:04d}_….sql"
            )
        sql = (root / name).read_text(encoding="utf-8")
        if component == CHASSIS:
            sql = sql.replace("{schema}", schema)
        migrations.append(Migration(schema, component, expected, name, sql))
    return migrations
