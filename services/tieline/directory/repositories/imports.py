"""The members that an import reads and writes, batch by batch."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import repeat

from tieline.chassis.postgres import Connection, Record
from tieline.directory.imports.batches import UNIQUE_PLACES, Attributes, PlannedMember, StoredMember
from tieline.directory.imports.columns import FIELD_COLUMNS
from tieline.directory.imports.member_rows import MemberRow

# Written as they stand: the names are the code's.
_FIELDS = ", ".join(FIELD_COLUMNS)
assert FIELD_COLUMNS[-1] == "external_profile", "_to_records takes it for that"
_READ_FIELDS = _FIELDS.replace("external_profile", "encode(external_profile, 'hex')")
_NEW_VALUES = ", ".join(f"changed.{name}" for name in FIELD_COLUMNS).replace(
    "changed.external_profile", "decode(changed.external_profile, 'hex')"
)
STORED_COLUMNS = f"""
    user_id, {_READ_FIELDS}, department_id, state, import_id, import_line, extended_attributes,
    ARRAY(SELECT ARRAY[place.department_id, place.member_order, place.is_leader::int]
            FROM directory.member_departments AS place
           WHERE place.corp_id = members.corp_id AND place.user_id = members.user_id
           ORDER BY place.department_id <> members.department_id, place.department_id)
"""  # noqa: S608 -- columns are named by the code
_LIST_STORED = f"""
    SELECT {STORED_COLUMNS}
      FROM directory.members
     WHERE corp_id = $1
       AND user_id IN (
           SELECT user_id FROM directory.members
            WHERE corp_id = $1 AND user_id = ANY($2::text[])
            UNION
           SELECT user_id FROM directory.members
            WHERE corp_id = $1 AND mobile <> '' AND mobile = ANY($3::text[])
            UNION
           SELECT user_id FROM directory.members
            WHERE corp_id = $1 AND email <> '' AND lower(email) = ANY($4::text[])
            UNION
           SELECT user_id FROM directory.members
            WHERE corp_id = $1 AND biz_email <> '' AND lower(biz_email) = ANY($5::text[]))
"""  # noqa: S608 -- columns are named by the code

_COPIED_COLUMNS = (
    "corp_id",
    "user_id",
    *FIELD_COLUMNS,
    "department_id",
    "extended_attributes",
    "import_id",
    "import_line",
    "change_number",
    "state",
)

_UPDATE = f"""
    UPDATE directory.members
       SET ({_FIELDS}) = ROW({_NEW_VALUES}),
           department_id = changed.department_id,
           extended_attributes = changed.extended_attributes::jsonb,
           import_id = $2,
           import_line = changed.import_line,
           change_number = changed.change_number,
           state = CASE WHEN changed.is_disabled THEN 'disabled'
                        WHEN state = 'disabled' AND activate_time IS NOT NULL THEN 'active'
                        WHEN state IN ('left', 'disabled') THEN 'invited'
                        ELSE state END,
           create_time = CASE state WHEN 'left' THEN now() ELSE create_time END,
           leave_time = NULL,
           update_time = now()
      FROM unnest($3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
                  $8::boolean[],
                  {", ".join(f"${number}::text[]" for number in range(9, 9 + len(FIELD_COLUMNS)))})
           AS changed (user_id, department_id, extended_attributes, import_line,
                       change_number, is_disabled, {_FIELDS})
     WHERE members.corp_id = $1 AND members.user_id = changed.user_id
"""  # noqa: S608 -- columns are named by the code


async def find_attribute_kinds(connection: Connection, corp_id: str) -> dict[str, str]:
    """Return the kinds of the corp's attributes by name, in the attributes' order."""
    rows = await connection.fetch(
        """
        SELECT name, kind
          FROM directory.attributes
         WHERE corp_id = $1
         ORDER BY attribute_order DESC, name
        """,
        corp_id,
    )
    return {row["name"]: row["kind"] for row in rows}


async def list_stored_members(
    connection: Connection, corp_id: str, rows: Sequence[MemberRow]
) -> list[StoredMember]:
    """Return the members that the rows name, or whose number or address the rows give."""
    unique_values = [
        [row.fields[place].lower() for row in rows if row.fields[place]]  # type: ignore[union-attr]  # not None where it is true
        for place in UNIQUE_PLACES
    ]
    records = await connection.fetch(
        _LIST_STORED, corp_id, [row.user_id for row in rows], *unique_values
    )
    return [to_stored(record) for record in records]


async def list_leaders(
    connection: Connection, corp_id: str, user_ids: Collection[str]
) -> dict[str, str]:
    """Return who these members, and all those above them, report to; empty for nobody.

    Those who left are none: nobody can be put under them.
    """
    rows = await connection.fetch(
        """
        WITH RECURSIVE chain AS (
            SELECT user_id, direct_leader
              FROM directory.members
             WHERE corp_id = $1 AND user_id = ANY($2::text[]) AND state <> 'left'
             UNION
            SELECT members.user_id, members.direct_leader
              FROM chain
              JOIN directory.members ON members.corp_id = $1
               AND members.user_id = chain.direct_leader
        )
        SELECT user_id, direct_leader FROM chain
        """,
        corp_id,
        list(user_ids),
    )
    return {row["user_id"]: row["direct_leader"] for row in rows}


async def write_members(
    connection: Connection,
    corp_id: str,
    import_id: str,
    members: Sequence[PlannedMember],
    department_ids: Mapping[str, int],
    first_change_number: int,
) -> None:
    """Store a batch: new members, changed ones, and which import found the others as they are.

    Those that are new or changed have consecutive change numbers, in the order of ``members``. The
    caller holds the corp's lock.
    """
    numbered = list(
        enumerate((each for each in members if each.is_changed), start=first_change_number)
    )
    changed = [(number, each) for number, each in numbered if each.before is not None]
    new = [(number, each) for number, each in numbered if each.before is None]
    unchanged = [each for each in members if not each.is_changed]
    if unchanged:
        await _stamp(connection, corp_id, import_id, unchanged)
    if changed:
        await _release(connection, corp_id, changed)
        await _update(connection, corp_id, import_id, changed, department_ids)
    if new:
        await connection.copy_records_to_table(
            "members",
            schema_name="directory",
            columns=_COPIED_COLUMNS,
            records=_to_records(corp_id, import_id, new, department_ids),
        )
    placed = [each for _, each in new]
    placed += await _take_places_away(
        connection, corp_id, [each for _, each in changed], department_ids
    )
    if placed:
        await _insert_places(connection, corp_id, placed, department_ids)


async def _stamp(
    connection: Connection, corp_id: str, import_id: str, members: Sequence[PlannedMember]
) -> None:
    await connection.execute(
        """
        UPDATE directory.members
           SET import_id = $2, import_line = found.import_line
          FROM unnest($3::text[], $4::bigint[]) AS found (user_id, import_line)
         WHERE members.corp_id = $1 AND members.user_id = found.user_id
        """,
        corp_id,
        import_id,
        [each.user_id for each in members],
        [each.line for each in members],
    )


async def _release(
    connection: Connection, corp_id: str, changed: Sequence[tuple[int, PlannedMember]]
) -> None:
    """Take numbers and addresses from members who give them up.

    The unique indexes look at one row at a time, in whatever order a statement writes them.
    """
    giving = [
        each.user_id
        for _, each in changed
        if each.before is not None
        and any(
            each.before.fields[place] and each.before.fields[place] != each.fields[place]
            for place in UNIQUE_PLACES
        )
    ]
    if giving:
        await connection.execute(
            """
            UPDATE directory.members
               SET mobile = '', email = '', biz_email = ''
             WHERE corp_id = $1 AND user_id = ANY($2::text[])
            """,
            corp_id,
            giving,
        )


async def _update(
    connection: Connection,
    corp_id: str,
    import_id: str,
    changed: Sequence[tuple[int, PlannedMember]],
    department_ids: Mapping[str, int],
) -> None:
    members = [each for _, each in changed]
    await connection.execute(
        _UPDATE,
        corp_id,
        import_id,
        [each.user_id for each in members],
        [department_ids[each.departments[0]] for each in members],
        [_to_json(each.attributes) for each in members],
        [each.line for each in members],
        [number for number, _ in changed],
        [each.is_disabled for each in members],
        *([each.fields[at] for each in members] for at in range(len(FIELD_COLUMNS))),
    )


async def _take_places_away(
    connection: Connection,
    corp_id: str,
    changed: Sequence[PlannedMember],
    department_ids: Mapping[str, int],
) -> list[PlannedMember]:
    """Delete the places of members that have others now; return those members."""
    moved = [
        each
        for each in changed
        if each.before is None or set(each.before.places) != set(_places(each, department_ids))
    ]
    if moved:
        await connection.execute(
            """
            DELETE FROM directory.member_departments
             WHERE corp_id = $1 AND user_id = ANY($2::text[])
            """,
            corp_id,
            [each.user_id for each in moved],
        )
    return moved


async def _insert_places(
    connection: Connection,
    corp_id: str,
    members: Sequence[PlannedMember],
    department_ids: Mapping[str, int],
) -> None:
    await connection.copy_records_to_table(
        "member_departments",
        schema_name="directory",
        columns=("corp_id", "user_id", "department_id", "member_order", "is_leader"),
        records=[
            (corp_id, each.user_id, department_ids[path], order, is_leader)
            for each in members
            for path, order, is_leader in zip(
                each.departments, each.orders, each.leaders, strict=True
            )
        ],
    )


def _places(
    member: PlannedMember, department_ids: Mapping[str, int]
) -> list[tuple[int, int, bool]]:
    ids = [department_ids[path] for path in member.departments]
    return list(zip(ids, member.orders, member.leaders, strict=True))


def _to_records(
    corp_id: str,
    import_id: str,
    numbered: Sequence[tuple[int, PlannedMember]],
    department_ids: Mapping[str, int],
) -> Iterator[tuple[object, ...]]:
    """Return the new members in the order of _COPIED_COLUMNS, put together a column at a time."""
    numbers, members = zip(*numbered, strict=True)
    *texts, profiles = zip(*(each.fields for each in members), strict=True)
    return zip(
        repeat(corp_id),
        [each.user_id for each in members],
        *texts,
        map(bytes.fromhex, profiles),
        [department_ids[each.departments[0]] for each in members],
        [_to_json(each.attributes) for each in members],
        repeat(import_id),
        [each.line for each in members],
        numbers,
        ["disabled" if each.is_disabled else "invited" for each in members],
        strict=False,
    )


def _to_json(attributes: Attributes) -> str:
    return json.dumps(attributes, ensure_ascii=False) if attributes else "{}"


def to_stored(record: Record) -> StoredMember:
    """Return the member of a record of STORED_COLUMNS."""
    user_id, *fields, _, state, import_id, line, attributes, places = record
    return StoredMember(
        user_id,
        tuple(fields),
        tuple((place[0], place[1], bool(place[2])) for place in places),
        json.loads(attributes),
        state,
        import_id,
        line,
    )
