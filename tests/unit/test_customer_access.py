"""A customer's token opens these methods and no other; opening one more is a decision."""

import importlib
import pkgutil
from collections.abc import Iterator

from google.protobuf.descriptor import MethodDescriptor

from tieline.api.common.v1 import access_pb2, principal_pb2
from tieline.chassis.streams import SERVICES

OPEN_TO_CUSTOMERS = {
    "IdentityService.GetCorpProfile": "what outsiders see of a corp",
    "SessionService.ListSessions": "the customer's own",
    "SessionService.RevokeSession": "the customer's own",
    "SessionService.RevokeAllSessions": "the customer's own",
    "ContactsService.AddContact": "by a member's code",
    "ContactsService.JoinCustomerGroup": "by a group's code",
    "ContactsService.GetCustomerGroup": "where the customer takes part",
    "ContactsService.LeaveCustomerGroup": "where the customer takes part",
    "MediaService.BeginUpload": "of corps that know the customer",
    "MediaService.GetUpload": "the customer's own",
    "MediaService.UploadMedia": "the customer's own",
    "MediaService.GetMedia": "the customer's own, and those in messages the customer sees",
    "MediaService.DownloadMedia": "the customer's own, and those in messages the customer sees",
    "MessageService.EditMessage": "the customer's own, where the customer takes part",
    "MessageService.RecallMessage": "the customer's own, where the customer takes part",
    "MessageService.ListEdits": "where the customer takes part",
    "MessageService.SetReaction": "where the customer takes part",
    "MessageService.ListReactions": "where the customer takes part",
    "MessageService.SetPin": "where the customer takes part",
    "MessageService.ListPins": "where the customer takes part",
    "MessageService.ForwardMessages": "where the customer takes part",
    "MessageService.AnswerMessage": "where the customer takes part",
    "MessageService.GetAnswers": "where the customer takes part",
    "MessagingService.BatchListMessages": "where the customer takes part",
    "MessagingService.BatchSendMessages": "where the customer takes part",
    "MessagingService.SendMessages": "where the customer takes part",
    "MessagingService.GetConversation": "where the customer takes part",
    "MessagingService.ListConversations": "where the customer takes part",
    "MessagingService.ListMessages": "where the customer takes part",
    "MessagingService.ListParticipants": "where the customer takes part",
    "MessagingService.SendMessage": "where the customer takes part",
    "MessagingService.Subscribe": "where the customer takes part",
    "PushService.RegisterPushTarget": "the customer's own",
    "PushService.UnregisterPushTarget": "the customer's own",
    "PushService.ListPushTargets": "the customer's own",
    "PushService.SetQuietHours": "the customer's own",
    "PushService.GetQuietHours": "the customer's own",
    "PushService.SetPushPreviews": "the customer's own",
    "PushService.GetPushPreviews": "the customer's own, and the corp's",
    "ReadingService.MarkRead": "where the customer takes part",
    "ReadingService.MuteConversation": "where the customer takes part",
    "ReadingService.PinConversation": "where the customer takes part",
    "ReadingService.SaveDraft": "where the customer takes part",
    "ReadingService.ListReadingStates": "the customer's own",
    "ReadingService.ListReaders": "of the customer's own messages, where the customer takes part",
    "ReadingService.LookAt": "where the customer takes part",
    "ReadingService.ShowTyping": "where the customer takes part",
    "SearchService.SearchMessages": "where the customer takes part",
    "PaymentsService.GetBalance": "the customer's own",
    "PaymentsService.GetRedPacket": "where the customer takes part",
    "PaymentsService.OpenRedPacket": "where the customer takes part",
}


def _methods() -> Iterator[MethodDescriptor]:
    for service in SERVICES:
        package = importlib.import_module(f"tieline.api.{service}.v1")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_service_pb2"):
                proto = importlib.import_module(f"{package.__name__}.{module.name}")
                for described in proto.DESCRIPTOR.services_by_name.values():
                    yield from described.methods


def _access(method: MethodDescriptor) -> access_pb2.Access:
    return method.GetOptions().Extensions[access_pb2.access]


def test_customers_may_call_what_is_listed_here_and_nothing_else() -> None:
    opened = {
        f"{method.containing_service.name}.{method.name}"
        for method in _methods()
        if principal_pb2.PRINCIPAL_KIND_CUSTOMER in _access(method).kinds
    }

    assert opened == set(OPEN_TO_CUSTOMERS)


def test_no_method_for_customers_asks_for_a_right() -> None:
    # A customer holds none: such a method would look open and be closed.
    wrong = [
        method.full_name
        for method in _methods()
        if principal_pb2.PRINCIPAL_KIND_CUSTOMER in _access(method).kinds
        and _access(method).right != access_pb2.RIGHT_UNSPECIFIED
    ]

    assert wrong == []
