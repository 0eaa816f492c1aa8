"""The tree of a school, and who administers what in it."""

from collections.abc import Collection, Iterable, Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.directory.departments.rules import ROOT_DEPARTMENT_ID as ROOT_OF_CORP
from tieline.directory.schools.rules import (
    MAX_NAME_CHARACTERS,
    ROOT_DEPARTMENT_ID,
    Administrator,
    AdministratorKind,
    DepartmentKind,
    SchoolDepartment,
)


async def insert_school(connection: Connection, corp_id: str) -> None:
    """Make the corp's school with its root, which has the corp's name; a repeat changes nothing."""
    await connection.execute(
        "INSERT INTO directory.schools (corp_id) VALUES ($1) ON CONFLICT DO NOTHING", corp_id
    )
    await connection.execute(
        """
        INSERT INTO directory.school_departments
               (corp_id, department_id, kind, name, ancestor_ids)
        SELECT corp_id, $2, 'school', left(name, $3), ARRAY[$2::bigint]
          FROM directory.departments
         WHERE corp_id = $1 AND department_id = $4
        ON CONFLICT DO NOTHING
        """,
        corp_id,
        ROOT_DEPARTMENT_ID,
        MAX_NAME_CHARACTERS,
        ROOT_OF_CORP,
    )


async def lock_school(connection: Connection, corp_id: str) -> int | None:
    """Wait for every other writer of the school; return the next department id.

    None for a corp without a school. NO KEY: rows that refer to the school's can still be checked.
    """
    next_department_id: int | None = await connection.fetchval(
        "SELECT next_department_id FROM directory.schools WHERE corp_id = $1 FOR NO KEY UPDATE",
        corp_id,
    )
    return next_department_id


async def insert_department(
    connection: Connection, corp_id: str, department: SchoolDepartment
) -> None:
    """Add a department with its administrators. The caller holds the school's lock."""
    await connection.execute(
        """
        INSERT INTO directory.school_departments
               (corp_id, department_id, parent_department_id, kind, name, standard_grade,
                register_year, department_order, ancestor_ids)
        SELECT corp_id, $2, department_id, $4, $5, $6, $7, $8, ancestor_ids || $2::bigint
          FROM directory.school_departments
         WHERE corp_id = $1 AND department_id = $3
        """,
        corp_id,
        department.department_id,
        department.parent_department_id,
        department.kind.value,
        department.name,
        department.standard_grade,
        department.register_year,
        department.order,
    )
    await connection.execute(
        "UPDATE directory.schools SET next_department_id = $2 WHERE corp_id = $1",
        corp_id,
        department.department_id + 1,
    )
    await _insert_administrators(connection, corp_id, department)


async def update_department(
    connection: Connection, corp_id: str, department: SchoolDepartment
) -> None:
    """Change a department in place, with its administrators. The caller holds the lock."""
    await connection.execute(
        """
        UPDATE directory.school_departments
           SET name = $3, standard_grade = $4, register_year = $5, department_order = $6,
               revision = revision + 1
         WHERE corp_id = $1 AND department_id = $2
        """,
        corp_id,
        department.department_id,
        department.name,
        department.standard_grade,
        department.register_year,
        department.order,
    )
    await connection.execute(
        "DELETE FROM directory.school_administrators WHERE corp_id = $1 AND department_id = $2",
        corp_id,
        department.department_id,
    )
    await _insert_administrators(connection, corp_id, department)


async def _insert_administrators(
    connection: Connection, corp_id: str, department: SchoolDepartment
) -> None:
    await connection.execute(
        """
        INSERT INTO directory.school_administrators
               (corp_id, department_id, user_id, kind, subject)
        SELECT $1, $2, user_id, kind, subject
          FROM unnest($3::text[], $4::text[], $5::text[]) AS administrator (user_id, kind, subject)
        """,
        corp_id,
        department.department_id,
        [administrator.user_id for administrator in department.administrators],
        [administrator.kind for administrator in department.administrators],
        [administrator.subject for administrator in department.administrators],
    )


async def delete_administrators(
    connection: Connection, corp_id: str, user_ids: Collection[str]
) -> list[int]:
    """Take from members, who leave the corp, all that they administer; return what that was."""
    rows = await connection.fetch(
        """
        WITH gone AS (
            DELETE FROM directory.school_administrators
             WHERE corp_id = $1 AND user_id = ANY($2::text[])
            RETURNING department_id
        )
        UPDATE directory.school_departments
           SET revision = revision + 1
         WHERE corp_id = $1 AND department_id IN (SELECT department_id FROM gone)
        RETURNING department_id
        """,
        corp_id,
        list(user_ids),
    )
    return [row["department_id"] for row in rows]


async def delete_department(connection: Connection, corp_id: str, department_id: int) -> None:
    """Delete a department that nothing is in. The caller holds the lock."""
    await connection.execute(
        "DELETE FROM directory.school_departments WHERE corp_id = $1 AND department_id = $2",
        corp_id,
        department_id,
    )


async def is_empty(connection: Connection, corp_id: str, department_id: int) -> bool:
    """Tell whether there are neither departments nor students right in the department."""
    return not await connection.fetchval(
        """
        SELECT EXISTS (SELECT FROM directory.school_departments
                        WHERE corp_id = $1 AND parent_department_id = $2)
            OR EXISTS (SELECT FROM directory.student_classes
                        WHERE corp_id = $1 AND class_id = $2)
        """,
        corp_id,
        department_id,
    )


async def count_departments(connection: Connection, corp_id: str) -> int:
    """Return how many departments the school has."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM directory.school_departments WHERE corp_id = $1", corp_id
    )
    return count


async def find_department(
    connection: Connection, corp_id: str, department_id: int
) -> SchoolDepartment | None:
    """Return a department with its administrators, or None."""
    records = await connection.fetch(
        """
        SELECT department_id, coalesce(parent_department_id, 0), kind, name, standard_grade,
               register_year, department_order, revision
          FROM directory.school_departments
         WHERE corp_id = $1 AND department_id = $2
        """,
        corp_id,
        department_id,
    )
    found = await _with_administrators(connection, corp_id, records)
    return found[0] if found else None


async def has_sibling_named(
    connection: Connection, corp_id: str, department: SchoolDepartment
) -> bool:
    """Tell whether another department beside this one has its name."""
    return bool(
        await connection.fetchval(
            """
            SELECT true
              FROM directory.school_departments
             WHERE corp_id = $1 AND parent_department_id = $2 AND name = $3
               AND department_id <> $4
            """,
            corp_id,
            department.parent_department_id,
            department.name,
            department.department_id,
        )
    )


async def list_departments(
    connection: Connection, corp_id: str, *, under: int, after: int, limit: int
) -> list[SchoolDepartment]:
    """Return departments by id, from behind ``after`` on; those in ``under``, 0 for all."""
    records = await connection.fetch(
        """
        SELECT department_id, coalesce(parent_department_id, 0), kind, name, standard_grade,
               register_year, department_order, revision
          FROM directory.school_departments
         WHERE corp_id = $1 AND department_id > $2 AND ($3 = 0 OR $3 = ANY(ancestor_ids))
         ORDER BY department_id
         LIMIT $4
        """,
        corp_id,
        after,
        under,
        limit,
    )
    return await _with_administrators(connection, corp_id, records)


async def _with_administrators(
    connection: Connection, corp_id: str, records: Sequence[Record]
) -> list[SchoolDepartment]:
    administrators = await _list_administrators(
        connection, corp_id, [record["department_id"] for record in records]
    )
    return [
        SchoolDepartment(
            department_id=department_id,
            parent_department_id=parent_id,
            kind=DepartmentKind(kind),
            name=name,
            standard_grade=grade,
            register_year=year,
            order=order,
            administrators=tuple(administrators.get(department_id, ())),
            revision=revision,
        )
        for department_id, parent_id, kind, name, grade, year, order, revision in records
    ]


async def _list_administrators(
    connection: Connection, corp_id: str, department_ids: Sequence[int]
) -> dict[int, list[Administrator]]:
    records = await connection.fetch(
        """
        SELECT department_id, user_id, kind, subject
          FROM directory.school_administrators
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[])
         ORDER BY user_id, kind, subject
        """,
        corp_id,
        department_ids,
    )
    found: dict[int, list[Administrator]] = {}
    for department_id, user_id, kind, subject in records:
        administrator = Administrator(user_id, AdministratorKind(kind), subject)
        found.setdefault(department_id, []).append(administrator)
    return found


async def filter_classes(
    connection: Connection, corp_id: str, class_ids: Iterable[int]
) -> frozenset[int]:
    """Return which of the ids are classes'."""
    records = await connection.fetch(
        """
        SELECT department_id
          FROM directory.school_departments
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[]) AND kind = 'class'
        """,
        corp_id,
        list(class_ids),
    )
    return frozenset(record["department_id"] for record in records)


async def filter_taught_classes(
    connection: Connection, corp_id: str, user_id: str, class_ids: Iterable[int]
) -> frozenset[int]:
    """Return which of the classes the member administers, directly or from above."""
    records = await connection.fetch(
        """
        SELECT department_id
          FROM directory.school_departments AS class
         WHERE corp_id = $1 AND department_id = ANY($3::bigint[])
           AND EXISTS (SELECT
                         FROM directory.school_administrators AS administrator
                        WHERE administrator.corp_id = class.corp_id
                          AND administrator.user_id = $2
                          AND administrator.department_id = ANY(class.ancestor_ids))
        """,
        corp_id,
        user_id,
        list(class_ids),
    )
    return frozenset(record["department_id"] for record in records)
