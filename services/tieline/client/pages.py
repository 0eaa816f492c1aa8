"""Everything that a paged method has, as one async iterator."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, overload

from google.protobuf.message import Message

from tieline.api.common.v1 import principal_pb2
from tieline.api.contacts.v1 import contacts_pb2, contacts_service_pb2
from tieline.api.directory.v1 import directory_pb2, directory_service_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
)

Request = TypeVar("Request", bound=Message)

# The largest page that ListMessages gives.
RANGE_PAGE_SIZE = 1000


@overload
def pages(
    method: Callable[
        [Request],
        Awaitable[
            directory_service_pb2.SearchMembersResponse | directory_service_pb2.ListMembersResponse
        ],
    ],
    request: Request,
) -> AsyncIterator[directory_pb2.Member]: ...
@overload
def pages(
    method: Callable[[Request], Awaitable[directory_service_pb2.ListDepartmentsResponse]],
    request: Request,
) -> AsyncIterator[directory_pb2.Department]: ...
@overload
def pages(
    method: Callable[[Request], Awaitable[messaging_service_pb2.ListConversationsResponse]],
    request: Request,
) -> AsyncIterator[messaging_pb2.Conversation]: ...
@overload
def pages(
    method: Callable[[Request], Awaitable[messaging_service_pb2.ListParticipantsResponse]],
    request: Request,
) -> AsyncIterator[principal_pb2.PrincipalRef]: ...
@overload
def pages(
    method: Callable[[Request], Awaitable[contacts_service_pb2.ListContactsResponse]],
    request: Request,
) -> AsyncIterator[contacts_pb2.Contact]: ...
@overload
def pages(
    method: Callable[[Request], Awaitable[identity_service_pb2.ListCorpsResponse]],
    request: Request,
) -> AsyncIterator[identity_pb2.Corp]: ...


async def pages(method: Callable[[Any], Awaitable[Any]], request: Any) -> AsyncIterator[Any]:
    """Yield the items of every page, fetching the next page when it is reached.

    The request is left as it is; its ``page_token`` says where to begin, its ``page_size`` how many
    items to fetch at a time.
    """
    page_request = type(request)()
    page_request.CopyFrom(request)
    while True:
        response = await method(page_request)
        # Every paged response has its items in field 1.
        for item in getattr(response, response.DESCRIPTOR.fields_by_number[1].name):
            yield item
        if not response.next_page_token:
            return
        page_request.page_token = response.next_page_token


async def message_range(
    messaging: messaging_service_pb2_grpc.MessagingServiceStub,
    conversation_id: str,
    *,
    corp_id: str = "",
    after_sequence: int = 0,
) -> AsyncIterator[messaging_pb2.Message]:
    """Yield a conversation's messages after a number, in order, up to the newest one.

    ``corp_id`` may stay empty for members.
    """
    request = messaging_service_pb2.ListMessagesRequest(
        corp_id=corp_id, conversation_id=conversation_id, page_size=RANGE_PAGE_SIZE
    )
    while True:
        request.after_sequence = after_sequence
        response = await messaging.ListMessages(request)
        for message in response.messages:
            after_sequence = message.sequence
            yield message
        if not response.messages:
            # What retention has removed is passed over.
            after_sequence = max(after_sequence, response.kept_from_sequence - 1)
        if after_sequence >= response.last_sequence or not (
            response.messages or response.kept_from_sequence
        ):
            return
