"""ContactsService on the wire: translates, checks, runs one transaction, translates back."""

from dataclasses import replace

from tieline.api.contacts.v1 import contacts_service_pb2, contacts_service_pb2_grpc
from tieline.chassis.audit import record_act
from tieline.chassis.calls import current_principal
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_customer_group_id
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.contacts.codes import check_code, new_code
from tieline.contacts.contacts import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, check_state
from tieline.contacts.customer_groups import (
    check_customer_group_id,
    check_name,
    customer_group_not_found_error,
)
from tieline.contacts.joining import add_contact, join_customer_group, leave_customer_group
from tieline.contacts.messages import (
    build_created_event,
    to_contact,
    to_contact_way,
    to_customer_group,
    to_join_way,
)
from tieline.contacts.repositories import SCHEMA
from tieline.contacts.repositories.contacts import ContactsRepository


class ContactsServicer(contacts_service_pb2_grpc.ContactsServiceServicer):
    """Answers the calls of contacts."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def CreateContactWay(
        self, request: contacts_service_pb2.CreateContactWayRequest, context: Context
    ) -> contacts_service_pb2.CreateContactWayResponse:
        """Make a code of the caller's, at most once per ``request_id``."""
        member = current_principal()
        corp_id = member.require_corp(request.corp_id)
        check_state(request.state)

        async def act(connection: Connection) -> contacts_service_pb2.CreateContactWayResponse:
            repository = ContactsRepository(connection, corp_id)
            way = await repository.insert_contact_way(new_code(), member.id, request.state)
            # Without the code, here and below: whoever reads the log must not come in by it.
            await record_act(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action="contacts.contact_way.create",
                resource=f"members/{member.id}",
                details={"state": request.state},
            )
            return contacts_service_pb2.CreateContactWayResponse(contact_way=to_contact_way(way))

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            contacts_service_pb2.CreateContactWayResponse,
            act,
            corp_id=corp_id,
        )

    async def AddContact(
        self, request: contacts_service_pb2.AddContactRequest, context: Context
    ) -> contacts_service_pb2.AddContactResponse:
        """Make the calling customer a contact of the code's member; a repeat changes nothing."""
        customer = current_principal()
        corp_id = customer.require_corp(request.corp_id)
        check_code(request.code)
        async with transaction(self._pool) as connection:
            contact = await add_contact(connection, corp_id, request.code, customer)
        # The corp's own mark of the way is nothing for its customers.
        shown = replace(contact, state="")
        return contacts_service_pb2.AddContactResponse(contact=to_contact(shown))

    async def ListContacts(
        self, request: contacts_service_pb2.ListContactsRequest, context: Context
    ) -> contacts_service_pb2.ListContactsResponse:
        """Return a page of the caller's customers."""
        member = current_principal()
        corp_id = member.require_corp(request.corp_id)
        size = page_size(request.page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        after_customer_id = "" if position is None else str(position[0])
        async with self._pool.acquire() as connection:
            contacts = await ContactsRepository(connection, corp_id).list_contacts(
                member.id, after_customer_id, size + 1
            )
        page, next_page_token = self._page_tokens.cut(
            contacts, size, request, lambda contact: [contact.customer_id]
        )
        return contacts_service_pb2.ListContactsResponse(
            contacts=map(to_contact, page), next_page_token=next_page_token
        )

    async def CreateCustomerGroup(
        self, request: contacts_service_pb2.CreateCustomerGroupRequest, context: Context
    ) -> contacts_service_pb2.CreateCustomerGroupResponse:
        """Make a group that the caller owns, at most once per ``request_id``."""
        member = current_principal()
        corp_id = member.require_corp(request.corp_id)
        check_name(request.name)

        async def act(connection: Connection) -> contacts_service_pb2.CreateCustomerGroupResponse:
            repository = ContactsRepository(connection, corp_id)
            group = await repository.insert_customer_group(
                new_customer_group_id(), request.name, member.id
            )
            await record_act(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action="contacts.customer_group.create",
                resource=f"customerGroups/{group.customer_group_id}",
                events=[build_created_event(corp_id, group)],
            )
            return contacts_service_pb2.CreateCustomerGroupResponse(group=to_customer_group(group))

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            contacts_service_pb2.CreateCustomerGroupResponse,
            act,
            corp_id=corp_id,
        )

    async def GetCustomerGroup(
        self, request: contacts_service_pb2.GetCustomerGroupRequest, context: Context
    ) -> contacts_service_pb2.GetCustomerGroupResponse:
        """Return a group to those who are in it."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        group_id = request.customer_group_id
        check_customer_group_id(group_id)
        async with self._pool.acquire() as connection:
            repository = ContactsRepository(connection, corp_id)
            if not await repository.is_in_group(group_id, principal.kind, principal.id):
                raise customer_group_not_found_error(group_id)
            group = await repository.find_customer_group(group_id)
        assert group is not None, "groups with members exist"
        return contacts_service_pb2.GetCustomerGroupResponse(group=to_customer_group(group))

    async def CreateJoinWay(
        self, request: contacts_service_pb2.CreateJoinWayRequest, context: Context
    ) -> contacts_service_pb2.CreateJoinWayResponse:
        """Make a code of a group that the caller owns, at most once per ``request_id``."""
        member = current_principal()
        corp_id = member.require_corp(request.corp_id)
        group_id = request.customer_group_id
        check_customer_group_id(group_id)

        async def act(connection: Connection) -> contacts_service_pb2.CreateJoinWayResponse:
            repository = ContactsRepository(connection, corp_id)
            group = await repository.find_customer_group(group_id)
            if group is None or group.owner_user_id != member.id:
                raise customer_group_not_found_error(group_id)
            way = await repository.insert_join_way(new_code(), group_id)
            await record_act(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action="contacts.join_way.create",
                resource=f"customerGroups/{group_id}",
            )
            return contacts_service_pb2.CreateJoinWayResponse(join_way=to_join_way(way))

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            contacts_service_pb2.CreateJoinWayResponse,
            act,
            corp_id=corp_id,
        )

    async def JoinCustomerGroup(
        self, request: contacts_service_pb2.JoinCustomerGroupRequest, context: Context
    ) -> contacts_service_pb2.JoinCustomerGroupResponse:
        """Bring the calling customer into the code's group; a repeat changes nothing."""
        customer = current_principal()
        corp_id = customer.require_corp(request.corp_id)
        check_code(request.code)
        async with transaction(self._pool) as connection:
            group = await join_customer_group(connection, corp_id, request.code, customer)
        return contacts_service_pb2.JoinCustomerGroupResponse(group=to_customer_group(group))

    async def LeaveCustomerGroup(
        self, request: contacts_service_pb2.LeaveCustomerGroupRequest, context: Context
    ) -> contacts_service_pb2.LeaveCustomerGroupResponse:
        """Take the calling customer out of a group."""
        customer = current_principal()
        corp_id = customer.require_corp(request.corp_id)
        check_customer_group_id(request.customer_group_id)
        async with transaction(self._pool) as connection:
            await leave_customer_group(connection, corp_id, request.customer_group_id, customer)
        return contacts_service_pb2.LeaveCustomerGroupResponse()
