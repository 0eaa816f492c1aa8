"""The corp that a surge plays in: made for it, with so many people and no more."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from tieline.api.contacts.v1 import contacts_service_pb2
from tieline.api.directory.v1 import directory_service_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.api.payments.v1 import payments_service_pb2
from tieline.client import SignedIn, Tieline, TielineError
from tieline.demo.channel import Channel

Item = TypeVar("Item")
Result = TypeVar("Result")

OWNER = "owner"
# Each has a password hashed for it: a laptop does some ten a second.
_AT_A_TIME = 8
_READY_TIMEOUT_S = 60.0
_POLL_S = 0.2
_SHARES = 100
_DEPOSIT_MINOR = 1_000_000
_CURRENCY = "CNY"
_MEMBERS_PER_GROUP = 5


@dataclass(frozen=True)
class Person:
    """Somebody who takes part, by what the generators need of them."""

    id: str
    access_token: str = field(repr=False)
    password: str = field(repr=False, default="")
    """A member's; customers have none."""

    conversation_id: str = ""
    """Where a member writes."""


@dataclass(frozen=True)
class Cast:
    """Everybody who takes part."""

    corp_id: str
    members: Sequence[Person]
    customers: Sequence[Person]
    contact_code: str
    red_packet_id: str

    def to_json(self) -> dict[str, object]:
        """Return it as what JSON can hold, tokens included."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, object]) -> "Cast":
        """Read what ``to_json`` returned."""
        people = {
            name: [Person(**person) for person in content.pop(name)]  # type: ignore[attr-defined]
            for name in ("members", "customers")
        }
        return cls(**people, **content)  # type: ignore[arg-type]


async def bring_together(
    tieline: Tieline, administrator: SignedIn, *, members: int, customers: int
) -> Cast:
    """Make a corp with so many members and customers, who can do what the mix has."""
    identity = administrator.identity
    created = await identity.CreateCorp(
        identity_service_pb2.CreateCorpRequest(
            display_name="Surge",
            kind=identity_pb2.CORP_KIND_COMPANY,
            owner_user_id=OWNER,
            owner_name="Owner",
        )
    )
    corp_id = created.corp.corp_id
    await identity.VerifyCorp(
        identity_service_pb2.VerifyCorpRequest(corp_id=corp_id, evidence="a surge's own")
    )
    owner = await tieline.accept_invitation(
        corp_id, OWNER, created.owner_invitation.code, secrets.token_urlsafe()
    )
    people = await _hire(tieline, owner, corp_id, members)
    group_id, joining = await _open_customer_group(owner)
    way = await owner.contacts.CreateContactWay(contacts_service_pb2.CreateContactWayRequest())
    guests = await _invite(tieline, administrator, corp_id, joining, customers)
    packet_id = await _give_red_packet(administrator, owner, corp_id, group_id)
    return Cast(corp_id, people, guests, way.contact_way.code, packet_id)


async def _hire(tieline: Tieline, owner: SignedIn, corp_id: str, count: int) -> list[Person]:
    ids = [f"user{number}" for number in range(count)]
    await _once_heard_of(lambda: _import(owner, ids), _is_new_to_directory)
    invited = await owner.identity.CreateInvitations(
        identity_service_pb2.CreateInvitationsRequest(user_ids=ids)
    )
    passwords = {user_id: secrets.token_urlsafe() for user_id in ids}

    async def accept(invitation: identity_pb2.Invitation) -> SignedIn:
        user_id = invitation.user_id
        return await tieline.accept_invitation(
            corp_id, user_id, invitation.code, passwords[user_id]
        )

    signed_in = await _some_at_a_time(accept, list(invited.invitations))
    ids = [invitation.user_id for invitation in invited.invitations]
    groups = [ids[i : i + _MEMBERS_PER_GROUP] for i in range(0, count, _MEMBERS_PER_GROUP)]
    conversations: dict[str, str] = {}
    for group in groups:
        host = signed_in[ids.index(group[0])]
        conversation_id = await _open_group(host, group[1:] or [OWNER])
        conversations |= dict.fromkeys(group, conversation_id)
    return [
        Person(user_id, me.tokens.access_token, passwords[user_id], conversations[user_id])
        for user_id, me in zip(ids, signed_in, strict=True)
    ]


async def _import(owner: SignedIn, ids: Sequence[str]) -> None:
    async for response in owner.directory.ImportMembers(_staff(ids)):
        if response.errors:
            raise RuntimeError(f"the surge's staff was not imported: {response.errors[0]}")


def _is_new_to_directory(error: TielineError) -> bool:
    return error.reason == "CORP_NOT_READY"


async def _staff(
    ids: Sequence[str],
) -> AsyncIterator[directory_service_pb2.ImportMembersRequest]:
    yield directory_service_pb2.ImportMembersRequest(
        config=directory_service_pb2.ImportMembersConfig()
    )
    lines = ["user_id,name,department", *(f"{user_id},Surge {user_id},Surge" for user_id in ids)]
    yield directory_service_pb2.ImportMembersRequest(chunk="\n".join(lines).encode())


async def _open_group(host: SignedIn, others: Sequence[str]) -> str:
    response = await host.messaging.CreateConversation(
        messaging_service_pb2.CreateConversationRequest(
            kind=messaging_pb2.CONVERSATION_KIND_GROUP, name="Surge", user_ids=others
        )
    )
    return response.conversation.conversation_id


async def _open_customer_group(owner: SignedIn) -> tuple[str, str]:
    """Return the group's id, which is its conversation's too, and the code that leads there."""
    created = await owner.contacts.CreateCustomerGroup(
        contacts_service_pb2.CreateCustomerGroupRequest(name="Surge")
    )
    group_id = created.group.customer_group_id
    way = await owner.contacts.CreateJoinWay(
        contacts_service_pb2.CreateJoinWayRequest(customer_group_id=group_id)
    )
    return group_id, way.join_way.code


async def _invite(
    tieline: Tieline, administrator: SignedIn, corp_id: str, code: str, count: int
) -> list[Person]:
    channel = await Channel.open(administrator, "Surge")

    async def come(number: int) -> Person:
        name = f"Customer {number}"
        customer = await channel.sign_in(tieline, f"{secrets.token_hex(8)}-{number}", name)
        await customer.contacts.JoinCustomerGroup(
            contacts_service_pb2.JoinCustomerGroupRequest(corp_id=corp_id, code=code)
        )
        return Person(customer.customer_id, customer.tokens.access_token)

    return await _some_at_a_time(come, range(count))


async def _give_red_packet(
    administrator: SignedIn, owner: SignedIn, corp_id: str, group_id: str
) -> str:
    await administrator.payments.CreateDeposit(
        payments_service_pb2.CreateDepositRequest(
            corp_id=corp_id,
            amount_minor=_DEPOSIT_MINOR,
            currency_code=_CURRENCY,
            bank_reference=f"surge {secrets.token_hex(8)}",
        )
    )
    request = payments_service_pb2.CreateRedPacketRequest(
        conversation_id=group_id,
        amount_minor=_SHARES * 100,
        currency_code=_CURRENCY,
        share_count=_SHARES,
    )
    created = await _once_heard_of(
        lambda: owner.payments.CreateRedPacket(request), _is_new_to_messaging
    )
    return created.red_packet.red_packet_id


def _is_new_to_messaging(error: TielineError) -> bool:
    return error.code.name in ("NOT_FOUND", "PERMISSION_DENIED")


async def _once_heard_of(
    do: Callable[[], Awaitable[Result]], is_too_early: Callable[[TielineError], bool]
) -> Result:
    """Do it until the service has heard, by an event, of what it is done with."""
    async with asyncio.timeout(_READY_TIMEOUT_S):
        while True:
            try:
                return await do()
            except TielineError as error:
                if not is_too_early(error):
                    raise
            await asyncio.sleep(_POLL_S)


async def _some_at_a_time(
    do: Callable[[Item], Awaitable[Result]], items: Sequence[Item]
) -> list[Result]:
    """Do it for each item, a few at a time; return the results in the items' order."""
    room = asyncio.Semaphore(_AT_A_TIME)

    async def do_one(item: Item) -> Result:
        async with room:
            return await do(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(do_one(item)) for item in items]
    return [task.result() for task in tasks]
