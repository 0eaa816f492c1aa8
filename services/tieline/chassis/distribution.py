"""How the tables lie on the nodes of a Citus cluster: tenant tables by corp, all in step.

Everything of one corp is on one node, in every service's schema, so that a transaction and its
statements stay there. The plan is made of the catalog; nothing is listed by hand but the tables
that belong to no corp.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

from tieline.chassis.postgres import Connection
from tieline.chassis.streams import SERVICES

DISTRIBUTION_COLUMN = "corp_id"

GLOBAL_TABLES: Mapping[str, str] = MappingProxyType(
    {
        "identity.app_token_failures": "counts by address: what was named need not exist",
        "identity.channels": "a channel vouches for customers of every corp",
        "identity.customers": "a customer is one person, whichever corps he or she deals with",
        "identity.platform_administrators": "they run the deployment and belong to no corp",
        "identity.qr_sign_ins": "whose a waiting device will be is known by whoever scans its code",
        "identity.signing_keys": "one set of keys signs the tokens of all",
        "identity.used_assertions": "an assertion is a channel's, before any corp is named",
        **{f"{service}.schema_migrations": "describes the schema itself" for service in SERVICES},
    }
)
"""Tables that belong to no corp, each with its reason. They stay on the coordinator."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the catalog that is no part of another."""

    name: str
    references: Set[str]
    """Other tables that its foreign keys point to."""


def plan_distribution(tables: Sequence[Table], done: Set[str]) -> list[str]:
    """Return the statements that distribute what is not distributed yet. Pure.

    A table comes behind those that it references; the first one gives the others their place.
    """
    tenant = {table.name: table for table in tables if table.name not in GLOBAL_TABLES}
    ordered = _referenced_first(tenant)
    leader = next((name for name in ordered if name in done), ordered[0] if ordered else "")
    return [
        f"SELECT create_distributed_table('{name}', '{DISTRIBUTION_COLUMN}', "
        f"colocate_with => '{'none' if name == leader else leader}')"
        for name in ordered
        if name not in done
    ]


async def list_tables(connection: Connection) -> list[Table]:
    """Return the services' tables with what they reference, by name."""
    rows = await connection.fetch(
        """
        SELECT t.oid::regclass::text AS name,
               array_agg(c.confrelid::regclass::text) FILTER (
                   WHERE c.contype = 'f' AND c.confrelid <> t.oid
               ) AS referenced
          FROM pg_class t
          LEFT JOIN pg_constraint c ON c.conrelid = t.oid
         WHERE t.relnamespace::regnamespace::text = ANY ($1::text[])
           AND t.relkind IN ('r', 'p') AND NOT t.relispartition
         GROUP BY t.oid
         ORDER BY name
        """,
        list(SERVICES),
    )
    return [Table(row["name"], frozenset(row["referenced"] or ())) for row in rows]


async def list_distributed(connection: Connection) -> frozenset[str] | None:
    """Return the tables that Citus has distributed; None where the database has no Citus."""
    if not await connection.fetchval("SELECT to_regclass('pg_catalog.pg_dist_partition')"):
        return None
    rows = await connection.fetch(
        "SELECT logicalrelid::regclass::text AS name FROM pg_dist_partition"
    )
    return frozenset(row["name"] for row in rows)


def _referenced_first(tables: Mapping[str, Table]) -> list[str]:
    ordered: dict[str, None] = {}

    def place(name: str) -> None:
        for referenced in sorted(tables[name].references & tables.keys()):
            if referenced not in ordered:
                place(referenced)
        ordered[name] = None

    for name in sorted(tables):
        if name not in ordered:
            place(name)
    return list(ordered)
