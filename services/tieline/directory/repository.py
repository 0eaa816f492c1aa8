"""The directory's SQL, and nothing else. The caller owns the transaction."""

from collections.abc import Collection, Mapping, Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.directory.departments import (
    ROOT_DEPARTMENT_ID,
    ROOT_PATH,
    Department,
    NewDepartment,
)
from tieline.directory.import_batches import StoredMember
from tieline.directory.member_rows import MemberRow
from tieline.directory.members import Member, SearchPosition, fold

SCHEMA = "directory"


class DirectoryRepository:
    """Corps, departments and members, within the connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert_corp(self, corp_id: str, display_name: str) -> None:
        """Add the corp and its root department; a repeat changes nothing."""
        await self._connection.execute(
            "INSERT INTO directory.corps (corp_id) VALUES ($1) ON CONFLICT DO NOTHING", corp_id
        )
        await self._connection.execute(
            """
            INSERT INTO directory.departments (corp_id, department_id, name, path)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING
            """,
            corp_id,
            ROOT_DEPARTMENT_ID,
            display_name,
            ROOT_PATH,
        )

    async def insert_owner(self, corp_id: str, user_id: str, name: str) -> None:
        """Add the corp's first member to the root department; a repeat changes nothing."""
        await self._connection.execute(
            """
            INSERT INTO directory.members (corp_id, user_id, name, name_folded, department_id)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT DO NOTHING
            """,
            corp_id,
            user_id,
            name,
            fold(name),
            ROOT_DEPARTMENT_ID,
        )

    async def has_corp(self, corp_id: str) -> bool:
        """Tell whether the corp has arrived here."""
        return bool(
            await self._connection.fetchval(
                "SELECT true FROM directory.corps WHERE corp_id = $1", corp_id
            )
        )

    async def lock_corp(self, corp_id: str) -> int:
        """Wait for every other writer of the corp's members; return the next department id.

        NO KEY: rows that refer to the corp's can still be checked.
        """
        next_department_id: int = await self._connection.fetchval(
            """
            SELECT next_department_id FROM directory.corps WHERE corp_id = $1 FOR NO KEY UPDATE
            """,
            corp_id,
        )
        return next_department_id

    async def find_department_ids(self, corp_id: str, paths: Collection[str]) -> dict[str, int]:
        """Return the ids of those departments that exist, by path."""
        rows = await self._connection.fetch(
            """
            SELECT path, department_id
              FROM directory.departments
             WHERE corp_id = $1 AND path = ANY($2::text[])
            """,
            corp_id,
            list(paths),
        )
        return {row["path"]: row["department_id"] for row in rows}

    async def insert_departments(self, corp_id: str, departments: Sequence[NewDepartment]) -> None:
        """Add departments, parents first. The caller holds the corp's lock."""
        await self._connection.execute(
            """
            INSERT INTO directory.departments
                   (corp_id, department_id, parent_department_id, name, path)
            SELECT $1, department_id, parent_department_id, name, path
              FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[])
                   AS department (department_id, parent_department_id, name, path)
            """,
            corp_id,
            [department.department_id for department in departments],
            [department.parent_department_id for department in departments],
            [department.name for department in departments],
            [department.path for department in departments],
        )
        await self._connection.execute(
            "UPDATE directory.corps SET next_department_id = $2 WHERE corp_id = $1",
            corp_id,
            departments[-1].department_id + 1,
        )

    async def list_stored_members(
        self, corp_id: str, rows: Sequence[MemberRow]
    ) -> list[StoredMember]:
        """Return the members that the rows name, or whose mobile or email the rows give."""
        records = await self._connection.fetch(
            """
            SELECT user_id, name, department_id, position, mobile, email, import_id, import_line
              FROM directory.members
             WHERE corp_id = $1 AND user_id = ANY($2::text[])
             UNION
            SELECT user_id, name, department_id, position, mobile, email, import_id, import_line
              FROM directory.members
             WHERE corp_id = $1 AND mobile <> '' AND mobile = ANY($3::text[])
             UNION
            SELECT user_id, name, department_id, position, mobile, email, import_id, import_line
              FROM directory.members
             WHERE corp_id = $1 AND email <> '' AND lower(email) = ANY($4::text[])
            """,
            corp_id,
            [row.user_id for row in rows],
            [row.mobile for row in rows if row.mobile],
            [row.email.lower() for row in rows if row.email],
        )
        return [StoredMember(*record) for record in records]

    async def upsert_members(
        self,
        corp_id: str,
        import_id: str,
        rows: Sequence[MemberRow],
        department_ids: Mapping[str, int],
    ) -> None:
        """Add or change members in the order of the rows. The caller holds the corp's lock.

        ``update_time`` stays where a row is as stored.
        """
        await self._connection.execute(
            """
            INSERT INTO directory.members
                   (corp_id, user_id, name, name_folded, department_id, position, mobile, email,
                    import_id, import_line)
            SELECT $1, user_id, name, name_folded, department_id, position, mobile, email,
                   $2, import_line
              FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                          $8::text[], $9::text[], $10::bigint[])
                   WITH ORDINALITY
                   AS member (user_id, name, name_folded, department_id, position, mobile, email,
                              import_line, row_number)
             ORDER BY row_number
            ON CONFLICT ON CONSTRAINT members_pkey
            DO UPDATE SET
                   name = excluded.name,
                   name_folded = excluded.name_folded,
                   department_id = excluded.department_id,
                   position = excluded.position,
                   mobile = excluded.mobile,
                   email = excluded.email,
                   import_id = excluded.import_id,
                   import_line = excluded.import_line,
                   update_time = CASE
                       WHEN (members.name, members.department_id, members.position,
                             members.mobile, members.email)
                            IS DISTINCT FROM
                            (excluded.name, excluded.department_id, excluded.position,
                             excluded.mobile, excluded.email)
                       THEN now()
                       ELSE members.update_time
                   END
            """,
            corp_id,
            import_id,
            [row.user_id for row in rows],
            [row.name for row in rows],
            [fold(row.name) for row in rows],
            [department_ids[row.department_path] for row in rows],
            [row.position for row in rows],
            [row.mobile for row in rows],
            [row.email for row in rows],
            [row.line for row in rows],
        )

    async def find_members(self, corp_id: str, user_ids: Sequence[str]) -> dict[str, Member]:
        """Return those of the members that exist, by user id."""
        records = await self._connection.fetch(
            """
            SELECT user_id, name, department_id, position, mobile, email, create_time, update_time
              FROM directory.members
             WHERE corp_id = $1 AND user_id = ANY($2::text[])
            """,
            corp_id,
            list(user_ids),
        )
        return {record["user_id"]: Member(*record) for record in records}

    async def find_present(self, corp_id: str, user_ids: Sequence[str]) -> set[str]:
        """Return which of the user ids are members'."""
        records = await self._connection.fetch(
            """
            SELECT user_id
              FROM directory.members
             WHERE corp_id = $1 AND user_id = ANY($2::text[])
            """,
            corp_id,
            list(user_ids),
        )
        return {record["user_id"] for record in records}

    async def find_by_contact(self, corp_id: str, *, mobile: str, email: str) -> list[str]:
        """Return who has the number, or the address, and is neither disabled nor gone."""
        records = await self._connection.fetch(
            """
            SELECT user_id
              FROM directory.members
             WHERE corp_id = $1 AND mobile = $2 AND mobile <> ''
               AND state IN ('invited', 'active')
             UNION
            SELECT user_id
              FROM directory.members
             WHERE corp_id = $1 AND lower(email) = lower($3) AND email <> ''
               AND state IN ('invited', 'active')
            """,
            corp_id,
            mobile,
            email,
        )
        return [record["user_id"] for record in records]

    async def list_members(
        self, corp_id: str, *, department_id: int, after_user_id: str, limit: int
    ) -> list[Member]:
        """Return members by user id, from behind ``after_user_id`` on."""
        if department_id:
            records = await self._connection.fetch(
                """
                SELECT user_id, name, department_id, position, mobile, email, create_time,
                       update_time
                  FROM directory.members
                 WHERE corp_id = $1 AND department_id = $2 AND user_id > $3
                 ORDER BY user_id
                 LIMIT $4
                """,
                corp_id,
                department_id,
                after_user_id,
                limit,
            )
        else:
            records = await self._connection.fetch(
                """
                SELECT user_id, name, department_id, position, mobile, email, create_time,
                       update_time
                  FROM directory.members
                 WHERE corp_id = $1 AND user_id > $2
                 ORDER BY user_id
                 LIMIT $3
                """,
                corp_id,
                after_user_id,
                limit,
            )
        return [Member(*record) for record in records]

    async def search_members(
        self, corp_id: str, folded_query: str, *, after: SearchPosition, limit: int
    ) -> list[SearchPosition]:
        """Return where the members stand whose name or user id holds the query, behind ``after``.

        Reads the primary key's index of the whole corp, some 10 ms for 36,000 members: an index
        for parts of words, from one Chinese character on, is a search engine's.
        """
        records = await self._connection.fetch(
            """
            SELECT closeness, name_folded, user_id
              FROM directory.members
             CROSS JOIN LATERAL (
                   SELECT CASE
                       WHEN name_folded = $2 OR user_id = $2 THEN 0
                       WHEN starts_with(name_folded, $2) OR starts_with(user_id, $2) THEN 1
                       ELSE 2
                   END AS closeness
             ) AS match
             WHERE corp_id = $1
               -- True of all, and says which index: of a corp that is newer than the statistics
               -- the planner expects one row and takes any.
               AND user_id > ''
               AND (strpos(name_folded, $2) > 0 OR strpos(user_id, $2) > 0)
               AND (closeness, name_folded, user_id) > ($3, $4::text COLLATE "C", $5)
             ORDER BY closeness, name_folded, user_id
             LIMIT $6
            """,
            corp_id,
            folded_query,
            *after,
            limit,
        )
        return [SearchPosition(*record) for record in records]

    async def has_department(self, corp_id: str, department_id: int) -> bool:
        """Tell whether the corp has this department."""
        return bool(
            await self._connection.fetchval(
                "SELECT true FROM directory.departments WHERE corp_id = $1 AND department_id = $2",
                corp_id,
                department_id,
            )
        )

    async def list_departments(
        self, corp_id: str, *, after_department_id: int, limit: int
    ) -> list[Department]:
        """Return departments by id, from behind ``after_department_id`` on."""
        records: list[Record] = await self._connection.fetch(
            """
            SELECT department_id, name, coalesce(parent_department_id, 0), path,
                   (SELECT count(*)
                      FROM directory.members
                     WHERE members.corp_id = departments.corp_id
                       AND members.department_id = departments.department_id)
              FROM directory.departments
             WHERE corp_id = $1 AND department_id > $2
             ORDER BY department_id
             LIMIT $3
            """,
            corp_id,
            after_department_id,
            limit,
        )
        return [Department(*record) for record in records]
