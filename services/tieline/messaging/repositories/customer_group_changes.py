"""The SQL of which changes of customers in customer groups were handled."""

from tieline.chassis.postgres import Connection
from tieline.messaging.sending.numbering import ConversationKey


async def claim_change(
    connection: Connection, key: ConversationKey, customer_id: str, change_number: int
) -> bool:
    """Note that a change is handled; False if it or a later one of the customer's was before."""
    claimed = await connection.fetchval(
        """
        INSERT INTO messaging.customer_group_changes AS change
               (corp_id, conversation_id, customer_id, change_number)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT ON CONSTRAINT customer_group_changes_pkey
        DO UPDATE SET change_number = excluded.change_number
         WHERE change.change_number < excluded.change_number
        RETURNING true
        """,
        *key,
        customer_id,
        change_number,
    )
    return claimed is True
