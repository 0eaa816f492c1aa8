"""The client library for service developers: stubs that can be relied on.

::

    async with connect(Endpoints.read(".tieline/endpoints.json")) as tieline:
        me = await tieline.sign_in_member(corp_id, "li.wei", password)
        async for member in pages(me.directory.SearchMembers, SearchMembersRequest(query="王")):
            ...

Every unary call has a deadline, is repeated with the same request id while that is safe and may
help, carries a token that is still good, and raises TielineError with the service's reason. What
is called and returned are the generated stubs and messages of ``tieline.api``.

Belongs here: what every caller of the public API needs. Does not: anything of the inside of a
service. Reading order: connection, channel, caller, calls, retries, credentials; then pages, feed,
held_numbers, merging, sender, media.
"""

from tieline.client.connection import (
    ClientCertificate,
    SecondFactorNeededError,
    SignedIn,
    SignedInApp,
    SignedInCustomer,
    Tieline,
    connect,
)
from tieline.client.credentials import SessionTokens
from tieline.client.endpoints import Endpoints
from tieline.client.errors import TielineError
from tieline.client.feed import MessageFeed
from tieline.client.held_numbers import HeldNumbers, HeldNumbersFile
from tieline.client.media import download_media, upload_media
from tieline.client.pages import message_range, pages
from tieline.client.retries import RetryPolicy
from tieline.client.sender import MessageSender

__all__ = [
    "ClientCertificate",
    "Endpoints",
    "HeldNumbers",
    "HeldNumbersFile",
    "MessageFeed",
    "MessageSender",
    "RetryPolicy",
    "SecondFactorNeededError",
    "SessionTokens",
    "SignedIn",
    "SignedInApp",
    "SignedInCustomer",
    "Tieline",
    "TielineError",
    "connect",
    "download_media",
    "message_range",
    "pages",
    "upload_media",
]
