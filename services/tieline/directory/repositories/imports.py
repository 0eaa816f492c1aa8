"""What an import reads and writes, batch by batch."""

from collections.abc import Collection, Mapping, Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.departments import NewDepartment
from tieline.directory.import_batches import StoredMember
from tieline.directory.member_rows import MemberRow
from tieline.directory.members import fold


async def find_department_ids(
    connection: Connection, corp_id: str, paths: Collection[str]
) -> dict[str, int]:
    """Return the ids of those departments that exist, by path."""
    rows = await connection.fetch(
        """
        SELECT path, department_id
          FROM directory.departments
         WHERE corp_id = $1 AND path = ANY($2::text[])
        """,
        corp_id,
        list(paths),
    )
    return {row["path"]: row["department_id"] for row in rows}


async def insert_departments(
    connection: Connection, corp_id: str, departments: Sequence[NewDepartment]
) -> None:
    """Add departments, parents first. The caller holds the corp's lock."""
    await connection.execute(
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
    await connection.execute(
        """
        WITH RECURSIVE tree AS (
            SELECT department_id, ancestor_ids || department_id AS ancestor_ids
              FROM (SELECT new.department_id, above.ancestor_ids
                      FROM directory.departments AS new
                      JOIN directory.departments AS above
                        ON above.corp_id = $1 AND above.department_id = new.parent_department_id
                     WHERE new.corp_id = $1 AND new.department_id = ANY($2::bigint[])
                       AND above.ancestor_ids <> '{}') AS top
             UNION ALL
            SELECT below.department_id, tree.ancestor_ids || below.department_id
              FROM directory.departments AS below
              JOIN tree ON below.parent_department_id = tree.department_id
             WHERE below.corp_id = $1
        )
        UPDATE directory.departments
           SET ancestor_ids = tree.ancestor_ids
          FROM tree
         WHERE departments.corp_id = $1 AND departments.department_id = tree.department_id
        """,
        corp_id,
        [department.department_id for department in departments],
    )
    await connection.execute(
        "UPDATE directory.corps SET next_department_id = $2 WHERE corp_id = $1",
        corp_id,
        departments[-1].department_id + 1,
    )


async def list_stored_members(
    connection: Connection, corp_id: str, rows: Sequence[MemberRow]
) -> list[StoredMember]:
    """Return the members that the rows name, or whose mobile or email the rows give."""
    records = await connection.fetch(
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
    connection: Connection,
    corp_id: str,
    import_id: str,
    rows: Sequence[MemberRow],
    department_ids: Mapping[str, int],
) -> None:
    """Add or change members in the order of the rows. The caller holds the corp's lock.

    ``update_time`` stays where a row is as stored.
    """
    await connection.execute(
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
    await connection.execute(
        """
        DELETE FROM directory.member_departments
         USING directory.members AS member
         WHERE member_departments.corp_id = $1 AND member_departments.user_id = ANY($2::text[])
           AND member.corp_id = $1 AND member.user_id = member_departments.user_id
           AND member.department_id <> member_departments.department_id
        """,
        corp_id,
        [row.user_id for row in rows],
    )
    await connection.execute(
        """
        INSERT INTO directory.member_departments (corp_id, user_id, department_id)
        SELECT corp_id, user_id, department_id
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
        ON CONFLICT DO NOTHING
        """,
        corp_id,
        [row.user_id for row in rows],
    )
