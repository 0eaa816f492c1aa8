"""Who a corp is to outsiders: what identity's events told, and what identity answers otherwise."""

import logging

from tieline.api.identity.v1 import identity_requests_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.errors import UnavailableError
from tieline.chassis.postgres import Pool
from tieline.chassis.requests import ask
from tieline.messaging.repositories.corps import CorpRepository

logger = logging.getLogger(__name__)


async def find_verified_label(pool: Pool, broker: Broker, corp_id: str) -> str:
    """Return the corp's verified label; empty for one that nobody verified.

    Of a corp that no event has told of identity is asked once. While it does not answer, the label
    is missing.
    """
    async with pool.acquire() as connection:
        label = await CorpRepository(connection).find_label(corp_id)
    if label is not None:
        return label
    try:
        corp = await ask(
            broker,
            "identity",
            "find_corp",
            identity_requests_pb2.FindCorpRequest(corp_id=corp_id),
            identity_requests_pb2.FindCorpResponse,
        )
    except UnavailableError as error:
        logger.info("the label of corp %s is missing for now: %s", corp_id, error.text)
        return ""
    if corp.kind:
        async with pool.acquire() as connection:
            await CorpRepository(connection).note_label(corp_id, corp.verified_label)
    return corp.verified_label
