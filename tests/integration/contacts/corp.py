"""A corp whose members and customers use the public API of contacts."""

from dataclasses import dataclass

from calls import call
from fakes.tokens import TestTokens
from tieline.api.contacts.v1 import contacts_pb2, contacts_service_pb2, contacts_service_pb2_grpc
from tieline.chassis.ids import new_customer_id, new_uuid7

Stub = contacts_service_pb2_grpc.ContactsServiceStub


@dataclass(frozen=True)
class Corp:
    """Calls contacts for the people of one corp."""

    contacts: Stub
    tokens: TestTokens
    corp_id: str

    def member(self, user_id: str = "li.wei") -> str:
        return self.tokens.member(self.corp_id, user_id)

    def customer(self, customer_id: str = "", name: str = "王芳") -> str:
        return self.tokens.customer(customer_id or new_customer_id(), name=name)

    async def way(self, user_id: str = "li.wei", state: str = "") -> contacts_pb2.ContactWay:
        request = contacts_service_pb2.CreateContactWayRequest(request_id=new_uuid7(), state=state)
        response = await call(self.contacts.CreateContactWay, request, self.member(user_id))
        return response.contact_way

    async def add(self, code: str, customer: str) -> contacts_pb2.Contact:
        request = contacts_service_pb2.AddContactRequest(corp_id=self.corp_id, code=code)
        return (await call(self.contacts.AddContact, request, customer)).contact

    async def group(
        self, name: str = "老客户", user_id: str = "li.wei"
    ) -> contacts_pb2.CustomerGroup:
        request = contacts_service_pb2.CreateCustomerGroupRequest(request_id=new_uuid7(), name=name)
        response = await call(self.contacts.CreateCustomerGroup, request, self.member(user_id))
        return response.group

    async def join_way(self, group: contacts_pb2.CustomerGroup) -> contacts_pb2.JoinWay:
        request = contacts_service_pb2.CreateJoinWayRequest(
            request_id=new_uuid7(), customer_group_id=group.customer_group_id
        )
        owner = self.member(group.owner_user_id)
        return (await call(self.contacts.CreateJoinWay, request, owner)).join_way

    async def join(self, code: str, customer: str) -> contacts_pb2.CustomerGroup:
        request = contacts_service_pb2.JoinCustomerGroupRequest(corp_id=self.corp_id, code=code)
        return (await call(self.contacts.JoinCustomerGroup, request, customer)).group

    async def get_group(
        self, group: contacts_pb2.CustomerGroup, token: str
    ) -> contacts_pb2.CustomerGroup:
        request = contacts_service_pb2.GetCustomerGroupRequest(
            corp_id=self.corp_id, customer_group_id=group.customer_group_id
        )
        return (await call(self.contacts.GetCustomerGroup, request, token)).group

    async def list_contacts(
        self, page_size: int = 0, page_token: str = "", user_id: str = "li.wei"
    ) -> contacts_service_pb2.ListContactsResponse:
        request = contacts_service_pb2.ListContactsRequest(
            page_size=page_size, page_token=page_token
        )
        return await call(self.contacts.ListContacts, request, self.member(user_id))
