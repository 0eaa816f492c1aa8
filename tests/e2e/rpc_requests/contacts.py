"""How contacts's methods are called with the ids of a world's corp."""

from e2e.rpc_requests.world import Request, new_id
from tieline.api.contacts.v1 import contacts_service_pb2 as contacts

MODULES = (contacts,)


REQUESTS: dict[str, Request] = {
    "ContactsService.CreateContactWay": lambda w: contacts.CreateContactWayRequest(
        request_id=new_id(), corp_id=w.corp_id
    ),
    "ContactsService.AddContact": lambda w: contacts.AddContactRequest(
        corp_id=w.corp_id, code="0" * len(w.contact_code)
    ),
    "ContactsService.ListContacts": lambda w: contacts.ListContactsRequest(corp_id=w.corp_id),
    "ContactsService.CreateCustomerGroup": lambda w: contacts.CreateCustomerGroupRequest(
        request_id=new_id(), corp_id=w.corp_id, name="Group"
    ),
    "ContactsService.GetCustomerGroup": lambda w: contacts.GetCustomerGroupRequest(
        corp_id=w.corp_id, customer_group_id=w.group_id
    ),
    "ContactsService.CreateJoinWay": lambda w: contacts.CreateJoinWayRequest(
        request_id=new_id(), corp_id=w.corp_id, customer_group_id=w.group_id
    ),
    "ContactsService.LeaveCustomerGroup": lambda w: contacts.LeaveCustomerGroupRequest(
        corp_id=w.corp_id, customer_group_id=w.group_id
    ),
    "ContactsService.JoinCustomerGroup": lambda w: contacts.JoinCustomerGroupRequest(
        corp_id=w.corp_id, code="0" * len(w.join_code)
    ),
}
