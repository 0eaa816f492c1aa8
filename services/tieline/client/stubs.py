"""The generated stubs of every gRPC service, each bound to the connection of its service.

One place that lists them all: a new service is a property here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import grpc

from tieline.api.contacts.v1 import contacts_service_pb2_grpc
from tieline.api.directory.v1 import (
    attribute_service_pb2_grpc,
    change_service_pb2_grpc,
    department_service_pb2_grpc,
    directory_service_pb2_grpc,
    export_service_pb2_grpc,
    import_service_pb2_grpc,
    linked_corp_service_pb2_grpc,
    member_service_pb2_grpc,
    school_service_pb2_grpc,
    tag_service_pb2_grpc,
    visibility_service_pb2_grpc,
)
from tieline.api.identity.v1 import (
    app_service_pb2_grpc,
    audit_service_pb2_grpc,
    corp_link_service_pb2_grpc,
    customer_sign_in_service_pb2_grpc,
    identity_service_pb2_grpc,
    member_sign_in_service_pb2_grpc,
    role_service_pb2_grpc,
    second_factor_service_pb2_grpc,
    session_service_pb2_grpc,
    sign_in_provider_service_pb2_grpc,
    signing_key_service_pb2_grpc,
)
from tieline.api.messaging.v1 import (
    app_message_service_pb2_grpc,
    archive_service_pb2_grpc,
    compliance_service_pb2_grpc,
    conversation_service_pb2_grpc,
    media_service_pb2_grpc,
    message_service_pb2_grpc,
    messaging_service_pb2_grpc,
    push_service_pb2_grpc,
    reading_service_pb2_grpc,
    scheduled_message_service_pb2_grpc,
    search_service_pb2_grpc,
    sensitive_word_service_pb2_grpc,
)
from tieline.api.payments.v1 import payments_service_pb2_grpc
from tieline.client.callee_level import CalleeLevels
from tieline.client.caller import Caller
from tieline.client.channel import PartyChannel
from tieline.client.credentials import Credentials
from tieline.client.retries import RetryBudget, RetryPolicy


@dataclass(frozen=True, slots=True)
class Line:
    """The connections to one service and the retries that it may still be asked to bear."""

    channel: grpc.aio.Channel
    streams: grpc.aio.Channel
    """For calls that last: those of a connection are counted, and no other call waits for one."""

    budget: RetryBudget
    levels: CalleeLevels


@dataclass(frozen=True, slots=True)
class Lines:
    """What all parties of one connection share."""

    by_service: Mapping[str, Line]
    policy: RetryPolicy
    call_timeout_s: float


class Stubs:
    """Stubs of the gRPC services, made when they are first used."""

    def __init__(self, lines: Lines, credentials: Credentials[Any] | None) -> None:
        self._lines = lines
        self._credentials = credentials
        self._corp = "" if credentials is None else credentials.corp

    @cached_property
    def identity(self) -> identity_service_pb2_grpc.IdentityServiceStub:
        """Corps, sessions, invitations."""
        return identity_service_pb2_grpc.IdentityServiceStub(self._channel("identity"))

    @cached_property
    def sessions(self) -> session_service_pb2_grpc.SessionServiceStub:
        """Where somebody is signed in."""
        return session_service_pb2_grpc.SessionServiceStub(self._channel("identity"))

    @cached_property
    def apps(self) -> app_service_pb2_grpc.AppServiceStub:
        """Apps of corps, their secrets and tokens."""
        return app_service_pb2_grpc.AppServiceStub(self._channel("identity"))

    @cached_property
    def signing_keys(self) -> signing_key_service_pb2_grpc.SigningKeyServiceStub:
        """The keys that sign access tokens."""
        return signing_key_service_pb2_grpc.SigningKeyServiceStub(self._channel("identity"))

    @cached_property
    def corp_links(self) -> corp_link_service_pb2_grpc.CorpLinkServiceStub:
        """Links between corps and what each side shares."""
        return corp_link_service_pb2_grpc.CorpLinkServiceStub(self._channel("identity"))

    @cached_property
    def roles(self) -> role_service_pb2_grpc.RoleServiceStub:
        """Owners, administrators and auditors of a corp."""
        return role_service_pb2_grpc.RoleServiceStub(self._channel("identity"))

    @cached_property
    def audit(self) -> audit_service_pb2_grpc.AuditServiceStub:
        """The audit log."""
        return audit_service_pb2_grpc.AuditServiceStub(self._channel("identity"))

    @cached_property
    def member_sign_in(self) -> member_sign_in_service_pb2_grpc.MemberSignInServiceStub:
        """One-time codes, sign-in by providers and QR codes, passwords."""
        return member_sign_in_service_pb2_grpc.MemberSignInServiceStub(self._channel("identity"))

    @cached_property
    def customer_sign_in(self) -> customer_sign_in_service_pb2_grpc.CustomerSignInServiceStub:
        """Customers' one-time codes."""
        return customer_sign_in_service_pb2_grpc.CustomerSignInServiceStub(
            self._channel("identity")
        )

    @cached_property
    def second_factors(self) -> second_factor_service_pb2_grpc.SecondFactorServiceStub:
        """Authenticators, recovery codes, and whom a corp requires to have them."""
        return second_factor_service_pb2_grpc.SecondFactorServiceStub(self._channel("identity"))

    @cached_property
    def sign_in_providers(self) -> sign_in_provider_service_pb2_grpc.SignInProviderServiceStub:
        """The OpenID Connect providers of a corp."""
        return sign_in_provider_service_pb2_grpc.SignInProviderServiceStub(
            self._channel("identity")
        )

    @cached_property
    def directory(self) -> directory_service_pb2_grpc.DirectoryServiceStub:
        """Departments and members: finding, listing and importing them."""
        return directory_service_pb2_grpc.DirectoryServiceStub(self._channel("directory"))

    @cached_property
    def directory_changes(self) -> change_service_pb2_grpc.ChangeServiceStub:
        """What changed in the directory since a cursor."""
        return change_service_pb2_grpc.ChangeServiceStub(self._channel("directory"))

    @cached_property
    def schools(self) -> school_service_pb2_grpc.SchoolServiceStub:
        """Classes, students and parents."""
        return school_service_pb2_grpc.SchoolServiceStub(self._channel("directory"))

    @cached_property
    def linked_corps(self) -> linked_corp_service_pb2_grpc.LinkedCorpServiceStub:
        """What corps that the own one is linked with share."""
        return linked_corp_service_pb2_grpc.LinkedCorpServiceStub(self._channel("directory"))

    @cached_property
    def departments(self) -> department_service_pb2_grpc.DepartmentServiceStub:
        """The tree of departments, one by one."""
        return department_service_pb2_grpc.DepartmentServiceStub(self._channel("directory"))

    @cached_property
    def members(self) -> member_service_pb2_grpc.MemberServiceStub:
        """Members, one by one and in batches."""
        return member_service_pb2_grpc.MemberServiceStub(self._channel("directory"))

    @cached_property
    def attributes(self) -> attribute_service_pb2_grpc.AttributeServiceStub:
        """What a corp knows of its members beyond the fields that all have."""
        return attribute_service_pb2_grpc.AttributeServiceStub(self._channel("directory"))

    @cached_property
    def tags(self) -> tag_service_pb2_grpc.TagServiceStub:
        """Tags of members and departments."""
        return tag_service_pb2_grpc.TagServiceStub(self._channel("directory"))

    @cached_property
    def imports(self) -> import_service_pb2_grpc.ImportServiceStub:
        """Imports of members and departments that run in the background."""
        return import_service_pb2_grpc.ImportServiceStub(self._channel("directory"))

    @cached_property
    def exports(self) -> export_service_pb2_grpc.ExportServiceStub:
        """Members and departments as files."""
        return export_service_pb2_grpc.ExportServiceStub(self._channel("directory"))

    @cached_property
    def visibility(self) -> visibility_service_pb2_grpc.VisibilityServiceStub:
        """Who sees whom."""
        return visibility_service_pb2_grpc.VisibilityServiceStub(self._channel("directory"))

    @cached_property
    def messaging(self) -> messaging_service_pb2_grpc.MessagingServiceStub:
        """Conversations and messages."""
        return messaging_service_pb2_grpc.MessagingServiceStub(self._channel("messaging"))

    @cached_property
    def conversations(self) -> conversation_service_pb2_grpc.ConversationServiceStub:
        """Groups and who is in them."""
        return conversation_service_pb2_grpc.ConversationServiceStub(self._channel("messaging"))

    @cached_property
    def messages(self) -> message_service_pb2_grpc.MessageServiceStub:
        """Edits, recalls, reactions, pins, forwards and answers to cards."""
        return message_service_pb2_grpc.MessageServiceStub(self._channel("messaging"))

    @cached_property
    def archive(self) -> archive_service_pb2_grpc.ArchiveServiceStub:
        """All that was said, for auditors."""
        return archive_service_pb2_grpc.ArchiveServiceStub(self._channel("messaging"))

    @cached_property
    def sensitive_words(self) -> sensitive_word_service_pb2_grpc.SensitiveWordServiceStub:
        """What may not be said, or is to be looked at."""
        return sensitive_word_service_pb2_grpc.SensitiveWordServiceStub(self._channel("messaging"))

    @cached_property
    def compliance(self) -> compliance_service_pb2_grpc.ComplianceServiceStub:
        """How long messages are kept, and what must not go."""
        return compliance_service_pb2_grpc.ComplianceServiceStub(self._channel("messaging"))

    @cached_property
    def media(self) -> media_service_pb2_grpc.MediaServiceStub:
        """Images, voices, videos and files."""
        return media_service_pb2_grpc.MediaServiceStub(self._channel("messaging"))

    @cached_property
    def app_messages(self) -> app_message_service_pb2_grpc.AppMessageServiceStub:
        """What apps send to many."""
        return app_message_service_pb2_grpc.AppMessageServiceStub(self._channel("messaging"))

    @cached_property
    def scheduled_messages(
        self,
    ) -> scheduled_message_service_pb2_grpc.ScheduledMessageServiceStub:
        """Messages that are sent later."""
        return scheduled_message_service_pb2_grpc.ScheduledMessageServiceStub(
            self._channel("messaging")
        )

    @cached_property
    def push(self) -> push_service_pb2_grpc.PushServiceStub:
        """Where the party's devices are reached while they are not subscribed."""
        return push_service_pb2_grpc.PushServiceStub(self._channel("messaging"))

    @cached_property
    def reading(self) -> reading_service_pb2_grpc.ReadingServiceStub:
        """What the party has read, keeps and does not want to be told of."""
        return reading_service_pb2_grpc.ReadingServiceStub(self._channel("messaging"))

    @cached_property
    def message_search(self) -> search_service_pb2_grpc.SearchServiceStub:
        """Messages of the party's conversations by what they say."""
        return search_service_pb2_grpc.SearchServiceStub(self._channel("messaging"))

    @cached_property
    def contacts(self) -> contacts_service_pb2_grpc.ContactsServiceStub:
        """Customers and customer groups."""
        return contacts_service_pb2_grpc.ContactsServiceStub(self._channel("contacts"))

    @cached_property
    def payments(self) -> payments_service_pb2_grpc.PaymentsServiceStub:
        """Balances and red packets."""
        return payments_service_pb2_grpc.PaymentsServiceStub(self._channel("payments"))

    def _channel(self, service: str) -> PartyChannel:
        line = self._lines.by_service[service]
        caller = Caller(
            self._credentials,
            self._lines.policy,
            line.budget,
            self._lines.call_timeout_s,
            line.levels.of(self._corp),
        )
        return PartyChannel(line.channel, line.streams, caller)
