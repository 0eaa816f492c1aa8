"""What contacts keeps of one corp: contact ways, contacts, customer groups and join ways."""

import datetime as dt

from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.contacts.contacts import Contact, ContactWay
from tieline.contacts.customer_groups import CustomerGroup, JoinWay


class ContactsRepository:
    """Reads and writes the contacts and customer groups of one corp."""

    def __init__(self, connection: Connection, corp_id: str) -> None:
        self._connection = connection
        self._corp_id = corp_id

    async def insert_contact_way(self, code: str, user_id: str, state: str) -> ContactWay:
        """Store a new code of a member."""
        create_time: dt.datetime = await self._connection.fetchval(
            """
            INSERT INTO contacts.contact_ways (corp_id, code, user_id, state)
            VALUES ($1, $2, $3, $4)
            RETURNING create_time
            """,
            self._corp_id,
            code,
            user_id,
            state,
        )
        return ContactWay(code, user_id, state, create_time)

    async def find_contact_way(self, code: str) -> ContactWay | None:
        """Return the contact way of a code; codes of a corp that is gone lead nowhere."""
        row = await self._connection.fetchrow(
            """
            SELECT code, user_id, state, create_time
              FROM contacts.contact_ways
             WHERE corp_id = $1 AND code = $2
               AND NOT EXISTS (SELECT FROM contacts.deleted_corps WHERE corp_id = $1)
            """,
            self._corp_id,
            code,
        )
        return None if row is None else ContactWay(**row)

    async def claim_contact(
        self, way: ContactWay, customer_id: str, customer_name: str
    ) -> Contact | None:
        """Store a new contact; None if the customer is one already.

        Waits for another transaction that is adding the same contact.
        """
        row = await self._connection.fetchrow(
            """
            INSERT INTO contacts.contacts (corp_id, user_id, customer_id, customer_name, state)
            VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT ON CONSTRAINT contacts_pkey DO NOTHING
            RETURNING user_id, customer_id, customer_name, state, create_time
            """,
            self._corp_id,
            way.user_id,
            customer_id,
            customer_name,
            way.state,
        )
        return None if row is None else Contact(**row)

    async def find_contact(self, user_id: str, customer_id: str) -> Contact | None:
        """Return one customer of a member."""
        row = await self._connection.fetchrow(
            """
            SELECT user_id, customer_id, customer_name, state, create_time
              FROM contacts.contacts
             WHERE corp_id = $1 AND user_id = $2 AND customer_id = $3
            """,
            self._corp_id,
            user_id,
            customer_id,
        )
        return None if row is None else Contact(**row)

    async def list_contacts(
        self, user_id: str, after_customer_id: str, limit: int
    ) -> list[Contact]:
        """Return a member's customers behind an id, in the order of their ids."""
        rows = await self._connection.fetch(
            """
            SELECT user_id, customer_id, customer_name, state, create_time
              FROM contacts.contacts
             WHERE corp_id = $1 AND user_id = $2 AND customer_id > $3
             ORDER BY customer_id
             LIMIT $4
            """,
            self._corp_id,
            user_id,
            after_customer_id,
            limit,
        )
        return [Contact(**row) for row in rows]

    async def insert_customer_group(
        self, customer_group_id: str, name: str, owner_user_id: str
    ) -> CustomerGroup:
        """Store a new group with its owner in it."""
        create_time: dt.datetime = await self._connection.fetchval(
            """
            INSERT INTO contacts.customer_groups (corp_id, customer_group_id, name, owner_user_id)
            VALUES ($1, $2, $3, $4)
            RETURNING create_time
            """,
            self._corp_id,
            customer_group_id,
            name,
            owner_user_id,
        )
        await self.insert_group_member(customer_group_id, PrincipalKind.MEMBER, owner_user_id)
        return CustomerGroup(customer_group_id, name, owner_user_id, 1, create_time)

    async def lock_customer_group(self, customer_group_id: str) -> None:
        """Keep others from coming into the group until the transaction ends."""
        await self._connection.execute(
            """
            SELECT 1
              FROM contacts.customer_groups
             WHERE corp_id = $1 AND customer_group_id = $2
               FOR NO KEY UPDATE
            """,
            self._corp_id,
            customer_group_id,
        )

    async def count_member_change(self, customer_group_id: str) -> int:
        """Return the number of a change of who is in the group, which is locked by then."""
        number: int = await self._connection.fetchval(
            """
            UPDATE contacts.customer_groups
               SET member_change_count = member_change_count + 1
             WHERE corp_id = $1 AND customer_group_id = $2
            RETURNING member_change_count
            """,
            self._corp_id,
            customer_group_id,
        )
        return number

    async def find_customer_group(self, customer_group_id: str) -> CustomerGroup | None:
        """Return a group, counting who is in it."""
        row = await self._connection.fetchrow(
            """
            SELECT customer_group_id, name, owner_user_id, create_time,
                   (SELECT count(*)
                      FROM contacts.customer_group_members AS member
                     WHERE member.corp_id = $1 AND member.customer_group_id = $2) AS member_count
              FROM contacts.customer_groups
             WHERE corp_id = $1 AND customer_group_id = $2
            """,
            self._corp_id,
            customer_group_id,
        )
        return None if row is None else CustomerGroup(**row)

    async def is_in_group(self, customer_group_id: str, kind: PrincipalKind, id_: str) -> bool:
        """Return whether somebody is in a group."""
        found: bool = await self._connection.fetchval(
            """
            SELECT EXISTS (
                   SELECT FROM contacts.customer_group_members
                    WHERE corp_id = $1 AND customer_group_id = $2 AND kind = $3 AND id = $4)
            """,
            self._corp_id,
            customer_group_id,
            kind,
            id_,
        )
        return found

    async def insert_group_member(
        self, customer_group_id: str, kind: PrincipalKind, id_: str
    ) -> None:
        """Bring somebody into a group."""
        await self._connection.execute(
            """
            INSERT INTO contacts.customer_group_members (corp_id, customer_group_id, kind, id)
            VALUES ($1, $2, $3, $4)
            """,
            self._corp_id,
            customer_group_id,
            kind,
            id_,
        )

    async def delete_group_member(
        self, customer_group_id: str, kind: PrincipalKind, id_: str
    ) -> bool:
        """Take somebody out of a group; False if he or she was not in it."""
        deleted = await self._connection.fetchval(
            """
            DELETE FROM contacts.customer_group_members
             WHERE corp_id = $1 AND customer_group_id = $2 AND kind = $3 AND id = $4
            RETURNING true
            """,
            self._corp_id,
            customer_group_id,
            kind,
            id_,
        )
        return bool(deleted)

    async def insert_join_way(self, code: str, customer_group_id: str) -> JoinWay:
        """Store a new code of a group."""
        create_time: dt.datetime = await self._connection.fetchval(
            """
            INSERT INTO contacts.join_ways (corp_id, code, customer_group_id)
            VALUES ($1, $2, $3)
            RETURNING create_time
            """,
            self._corp_id,
            code,
            customer_group_id,
        )
        return JoinWay(code, customer_group_id, create_time)

    async def find_join_way(self, code: str) -> JoinWay | None:
        """Return the join way of a code; codes of a corp that is gone lead nowhere."""
        row = await self._connection.fetchrow(
            """
            SELECT code, customer_group_id, create_time
              FROM contacts.join_ways
             WHERE corp_id = $1 AND code = $2
               AND NOT EXISTS (SELECT FROM contacts.deleted_corps WHERE corp_id = $1)
            """,
            self._corp_id,
            code,
        )
        return None if row is None else JoinWay(**row)
