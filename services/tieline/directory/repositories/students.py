"""Students and their classes."""

from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.schools.students import Student


async def find_students(
    connection: Connection, corp_id: str, student_ids: Collection[str]
) -> dict[str, Student]:
    """Return those of the students that exist, by id."""
    records = await connection.fetch(
        """
        SELECT student_id, name, mobile, revision,
               ARRAY(SELECT class_id
                       FROM directory.student_classes
                      WHERE student_classes.corp_id = students.corp_id
                        AND student_classes.student_id = students.student_id
                      ORDER BY class_id) AS class_ids
          FROM directory.students
         WHERE corp_id = $1 AND student_id = ANY($2::text[])
        """,
        corp_id,
        list(student_ids),
    )
    return {
        student_id: Student(student_id, name, tuple(class_ids), mobile, str(revision))
        for student_id, name, mobile, revision, class_ids in records
    }


async def list_student_ids(
    connection: Connection, corp_id: str, class_id: int, *, after: str, limit: int
) -> list[str]:
    """Return the students of a class by id, from behind ``after`` on."""
    records = await connection.fetch(
        """
        SELECT student_id
          FROM directory.student_classes
         WHERE corp_id = $1 AND class_id = $2 AND student_id > $3
         ORDER BY student_id
         LIMIT $4
        """,
        corp_id,
        class_id,
        after,
        limit,
    )
    return [record["student_id"] for record in records]


async def upsert_students(
    connection: Connection, corp_id: str, students: Sequence[Student]
) -> None:
    """Add or change students with their classes. The caller holds the school's lock."""
    await connection.execute(
        """
        INSERT INTO directory.students (corp_id, student_id, name, mobile)
        SELECT $1, student_id, name, mobile
          FROM unnest($2::text[], $3::text[], $4::text[]) AS student (student_id, name, mobile)
        ON CONFLICT ON CONSTRAINT students_pkey
        DO UPDATE SET name = excluded.name, mobile = excluded.mobile,
                      revision = students.revision + 1
        """,
        corp_id,
        [student.student_id for student in students],
        [student.name for student in students],
        [student.mobile for student in students],
    )
    await connection.execute(
        """
        DELETE FROM directory.student_classes
         WHERE corp_id = $1 AND student_id = ANY($2::text[])
        """,
        corp_id,
        [student.student_id for student in students],
    )
    pairs = [(student.student_id, each) for student in students for each in student.class_ids]
    await connection.execute(
        """
        INSERT INTO directory.student_classes (corp_id, student_id, class_id)
        SELECT $1, student_id, class_id
          FROM unnest($2::text[], $3::bigint[]) AS pair (student_id, class_id)
        """,
        corp_id,
        [student_id for student_id, _ in pairs],
        [class_id for _, class_id in pairs],
    )


async def delete_students(
    connection: Connection, corp_id: str, student_ids: Collection[str]
) -> list[str]:
    """Delete students, and those of their parents who have no other child; return the parents."""
    rows = await connection.fetch(
        """
        WITH deleted AS (
            DELETE FROM directory.parents
             WHERE corp_id = $1
               AND parent_id IN (SELECT parent_id
                                   FROM directory.parent_children
                                  WHERE corp_id = $1 AND student_id = ANY($2::text[]))
               AND NOT EXISTS (SELECT
                                 FROM directory.parent_children AS other
                                WHERE other.corp_id = parents.corp_id
                                  AND other.parent_id = parents.parent_id
                                  AND other.student_id <> ALL($2::text[]))
            RETURNING parent_id
        ), students AS (
            DELETE FROM directory.students WHERE corp_id = $1 AND student_id = ANY($2::text[])
        )
        SELECT parent_id FROM deleted ORDER BY parent_id
        """,
        corp_id,
        list(student_ids),
    )
    return [row["parent_id"] for row in rows]
