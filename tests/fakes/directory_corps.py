"""A corp as the directory's tests use it: made by an event, filled by imports, read back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from nats.aio.client import Client

from fakes.tokens import TestTokens
from tieline.api.directory.v1 import (
    directory_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
)
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.message_headers import CORP_ID_HEADER, EVENT_ID_HEADER, KEY_HEADER
from tieline.client.errors import TielineError

CORP_CREATED = "tieline.identity.v1.corp_created"
CALL_TIMEOUT_S = 20

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ImportOutcome:
    """All that an import answered."""

    responses: list[directory_service_pb2.ImportMembersResponse]

    @property
    def summary(self) -> tuple[int, int, int, int]:
        """Added, updated, refused, departments added."""
        summary = self.responses[-1].summary
        return summary.added, summary.updated, summary.refused, summary.departments_added

    @property
    def errors(self) -> list[tuple[int, str, str]]:
        return [
            (error.line, error.column, error.reason)
            for response in self.responses
            for error in response.errors
        ]


@dataclass(frozen=True)
class Corp:
    """A corp that the directory knows, and its administrator."""

    corp_id: str
    stub: directory_service_pb2_grpc.DirectoryServiceStub
    tokens: TestTokens

    @property
    def metadata(self) -> Metadata:
        return self.signed(self.tokens.administrator(self.corp_id))

    @property
    def member_metadata(self) -> Metadata:
        return self.signed(self.tokens.member(self.corp_id, "reader"))

    def signed(self, token: str) -> Metadata:
        return (("authorization", f"Bearer {token}"),)

    def begin_import(
        self,
    ) -> grpc.aio.StreamStreamCall[
        directory_service_pb2.ImportMembersRequest, directory_service_pb2.ImportMembersResponse
    ]:
        """Return an import's stream, whose first message is still to be sent."""
        return self.stub.ImportMembers(metadata=self.metadata, timeout=CALL_TIMEOUT_S)

    async def import_file(self, *chunks: bytes) -> ImportOutcome:
        """Import the file to its end, or raise TielineError."""
        return await self.send(config_message(), *(chunk_message(chunk) for chunk in chunks))

    async def send(self, *messages: directory_service_pb2.ImportMembersRequest) -> ImportOutcome:
        async def requests() -> AsyncIterator[directory_service_pb2.ImportMembersRequest]:
            for message in messages:
                yield message

        with raising_tieline_errors():
            call = self.stub.ImportMembers(
                requests(), metadata=self.metadata, timeout=CALL_TIMEOUT_S
            )
            return ImportOutcome([response async for response in call])

    async def list_members(self) -> dict[str, directory_pb2.Member]:
        """Return all members, page by page."""
        members: list[directory_pb2.Member] = []
        request = directory_service_pb2.ListMembersRequest(page_size=1000)
        while True:
            page = await self.stub.ListMembers(
                request, metadata=self.metadata, timeout=CALL_TIMEOUT_S
            )
            members += page.members
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return {member.user_id: member for member in members}

    async def list_departments(self) -> list[directory_pb2.Department]:
        """Return the first 1,000 departments."""
        page = await self.stub.ListDepartments(
            directory_service_pb2.ListDepartmentsRequest(page_size=1000),
            metadata=self.metadata,
            timeout=CALL_TIMEOUT_S,
        )
        return list(page.departments)


class raising_tieline_errors:  # noqa: N801 -- read as a verb at its use
    """Turn the stub's errors into those of the client library, which tell the reason."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, grpc.aio.AioRpcError):
            raise TielineError.from_rpc_error(error) from error


def config_message(corp_id: str = "") -> directory_service_pb2.ImportMembersRequest:
    return directory_service_pb2.ImportMembersRequest(
        config=directory_service_pb2.ImportMembersConfig(corp_id=corp_id)
    )


def chunk_message(chunk: bytes) -> directory_service_pb2.ImportMembersRequest:
    return directory_service_pb2.ImportMembersRequest(chunk=chunk)


async def publish_corp_created(
    broker: Client, corp_id: str, *, owner_user_id: str = "Boss", event_id: str = ""
) -> None:
    """Tell, as identity, that the corp exists."""
    event = identity_pb2.CorpCreated(
        event_id=event_id or new_uuid7(),
        corp=identity_pb2.Corp(
            corp_id=corp_id, display_name="Jinyu Jewellery", owner_user_id=owner_user_id
        ),
        owner_name="Zhao Min",
    )
    await publish_event(broker, CORP_CREATED, corp_id, event)


async def publish_event(broker: Client, subject: str, corp_id: str, event: Any) -> None:
    """Publish an event as its service's relay would."""
    headers = {EVENT_ID_HEADER: event.event_id, CORP_ID_HEADER: corp_id, KEY_HEADER: corp_id}
    await broker.jetstream().publish(subject, event.SerializeToString(), headers=headers)


def table(*rows: Sequence[str], header: str = "user_id,name,department") -> bytes:
    """Return a CSV file."""
    return "\n".join([header, *(",".join(row) for row in rows)]).encode()
