"""Changes of a corp's directory straight in its tables, by the contract that all writers keep.

Each one takes its numbers under the lock of the corp's row. Rules are left out, so that a test can
make any state quickly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.audit import build_audit_event
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.directory.repositories import SCHEMA, changes, corps

State = tuple[
    dict[int, tuple[str, int]],
    dict[str, tuple[str, int]],
    dict[int, str],
    set[tuple[int, str]],
    set[tuple[int, int]],
]
"""Departments (name, parent), members (name, department), tags, their members and departments."""


@dataclass(frozen=True)
class Writer:
    """Writes into one corp; each call is a transaction."""

    pool: Pool
    corp_id: str

    async def create_corp(self) -> None:
        async with transaction(self.pool) as connection:
            await corps.insert_corp(connection, self.corp_id, "Corp", "boss")

    async def put_department(self, department_id: int, name: str, parent_id: int = 1) -> None:
        """Make a department, or rename and move it."""
        async with transaction(self.pool) as connection:
            await self._execute(
                connection,
                """
                INSERT INTO directory.departments
                       (corp_id, change_number, department_id, name, parent_department_id, path,
                        ancestor_ids)
                SELECT $1, $2, $3, $4, $5, $3::bigint::text || '-' || $4::text,
                       ancestor_ids || $3::bigint
                  FROM directory.departments
                 WHERE corp_id = $1 AND department_id = $5
                ON CONFLICT (corp_id, department_id) DO UPDATE SET
                       change_number = excluded.change_number, name = excluded.name,
                       parent_department_id = excluded.parent_department_id, path = excluded.path
                """,
                *(department_id, name, parent_id),
            )

    async def delete_department(self, department_id: int) -> None:
        await self._remove(
            "department",
            str(department_id),
            "DELETE FROM directory.departments WHERE corp_id = $1 AND department_id = $2",
            department_id,
        )

    async def put_member(self, user_id: str, name: str, department_id: int = 1) -> None:
        """Add a member, bring one back who left, or rename and move one."""
        async with transaction(self.pool) as connection:
            await self._execute(
                connection,
                """
                INSERT INTO directory.members
                       (corp_id, change_number, user_id, name, department_id)
                VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (corp_id, user_id) DO UPDATE SET
                       change_number = excluded.change_number, name = excluded.name,
                       department_id = excluded.department_id, state = 'invited', leave_time = NULL
                """,
                *(user_id, name, department_id),
            )

    async def place_member(self, user_id: str, department_ids: Sequence[int]) -> None:
        """Put a member into these departments."""
        async with transaction(self.pool) as connection:
            await self._execute(
                connection,
                """
                UPDATE directory.members SET change_number = $2
                 WHERE corp_id = $1 AND user_id = $3
                """,
                user_id,
            )
            await connection.execute(
                """
                INSERT INTO directory.member_departments (corp_id, user_id, department_id)
                SELECT $1, $2, unnest($3::bigint[])
                """,
                *(self.corp_id, user_id, department_ids),
            )

    async def leave(self, user_id: str) -> None:
        async with transaction(self.pool) as connection:
            await self._insert_removal(connection, "member", user_id)
            await connection.execute(
                "DELETE FROM directory.tag_members WHERE corp_id = $1 AND user_id = $2",
                *(self.corp_id, user_id),
            )
            await self._execute(
                connection,
                """
                UPDATE directory.members
                   SET change_number = $2, state = 'left', leave_time = now(), department_id = 1
                 WHERE corp_id = $1 AND user_id = $3
                """,
                user_id,
            )

    async def put_tag(self, tag_id: int, name: str) -> None:
        async with transaction(self.pool) as connection:
            await self._execute(
                connection,
                """
                INSERT INTO directory.tags (corp_id, change_number, tag_id, name)
                VALUES ($1, $2, $3, $4)
                ON CONFLICT (corp_id, tag_id)
                DO UPDATE SET change_number = excluded.change_number, name = excluded.name
                """,
                *(tag_id, f"{tag_id} {name}"),
            )

    async def delete_tag(self, tag_id: int) -> None:
        await self._remove(
            "tag",
            str(tag_id),
            "DELETE FROM directory.tags WHERE corp_id = $1 AND tag_id = $2",
            tag_id,
        )

    async def tag_member(self, tag_id: int, user_id: str) -> None:
        async with transaction(self.pool) as connection:
            await self._execute(
                connection,
                """
                INSERT INTO directory.tag_members (corp_id, change_number, tag_id, user_id)
                VALUES ($1, $2, $3, $4)
                ON CONFLICT DO NOTHING
                """,
                *(tag_id, user_id),
            )

    async def untag_member(self, tag_id: int, user_id: str) -> None:
        await self._remove(
            "tag_member",
            f"{tag_id}/{user_id}",
            "DELETE FROM directory.tag_members WHERE corp_id = $1 AND tag_id = $2 AND user_id = $3",
            *(tag_id, user_id),
        )

    async def tag_department(self, tag_id: int, department_id: int) -> None:
        async with transaction(self.pool) as connection:
            await self._execute(
                connection,
                """
                INSERT INTO directory.tag_departments
                       (corp_id, change_number, tag_id, department_id)
                VALUES ($1, $2, $3, $4)
                ON CONFLICT DO NOTHING
                """,
                *(tag_id, department_id),
            )

    async def forget_removals(self) -> None:
        """Forget all that were ever made, as if they were old."""
        async with transaction(self.pool) as connection:
            corp = await corps.lock_corp(connection, self.corp_id)
            await changes.forget_removals(connection, self.corp_id, corp.last_change_number)

    async def announce(self) -> None:
        """Insert an event, as every real change does."""
        async with transaction(self.pool) as connection:
            event = await build_audit_event(
                connection, SCHEMA, corp_id=self.corp_id, action="directory.test", resource="none"
            )
            await insert_events(connection, SCHEMA, [event])

    async def read_state(self) -> State:
        """Return what is there."""
        async with self.pool.acquire() as connection:

            async def fetch(columns: str, table: str, condition: str = "true") -> list[tuple]:  # type: ignore[type-arg]  # rows of any shape
                rows = await connection.fetch(
                    f"SELECT {columns} FROM directory.{table} WHERE corp_id = $1 AND {condition}",
                    self.corp_id,
                )
                return [tuple(row) for row in rows]

            departments = await fetch(
                "department_id, name, coalesce(parent_department_id, 0)", "departments"
            )
            members = await fetch("user_id, name, department_id", "members", "state <> 'left'")
            return (
                {id_: (name, parent) for id_, name, parent in departments},
                {id_: (name, department) for id_, name, department in members},
                dict(await fetch("tag_id, name", "tags")),
                set(await fetch("tag_id, user_id", "tag_members")),
                set(await fetch("tag_id, department_id", "tag_departments")),
            )

    async def _remove(self, kind: str, resource_id: str, statement: str, *key: int | str) -> None:
        async with transaction(self.pool) as connection:
            await self._insert_removal(connection, kind, resource_id)
            await connection.execute(statement, self.corp_id, *key)

    async def _insert_removal(self, connection: Connection, kind: str, resource_id: str) -> None:
        await self._execute(
            connection,
            """
            INSERT INTO directory.removals (corp_id, change_number, kind, resource_id)
            VALUES ($1, $2, $3, $4)
            """,
            *(kind, resource_id),
        )

    async def _execute(self, connection: Connection, statement: str, *values: int | str) -> None:
        await corps.lock_corp(connection, self.corp_id)
        number = await corps.advance_change_number(connection, self.corp_id, 1)
        await connection.execute(statement, self.corp_id, number, *values)
