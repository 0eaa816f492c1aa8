"""Who may name a corp: its members, and those who talk with them."""

from tieline.chassis.errors import NotFoundError
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.repositories.participants import ParticipantRepository, UserKey


async def check_known(connection: Connection, user: UserKey) -> None:
    """Raise NotFoundError for a customer who is in no conversation of the corp.

    Customers may name any corp, and many.
    """
    corp_id, person = user
    if person.kind != PrincipalKind.CUSTOMER.value:
        return
    if not await ParticipantRepository(connection).is_known(corp_id, person):
        raise NotFoundError("CORP_NOT_FOUND", "no such corp", {"corpId": corp_id})
