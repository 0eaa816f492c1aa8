"""What there is to be found out: one corp with something of everything, and its outsiders."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from tieline.api.identity.v1 import app_pb2
from tieline.client import Endpoints, SignedIn, SignedInCustomer

PASSWORD = "a long password"
STUDENT_NAME = "Xiao Ming"
PARENT_MOBILE = "13911112222"
NO_CORP_ID = "ww" + "0" * 24


@dataclass
class World:
    """One corp with something of everything, and people who have no business with it."""

    endpoints: Endpoints
    administrator: SignedIn
    owner: SignedIn
    corp_id: str
    colleague_id: str
    department_id: int
    tag_id: int
    rule_id: str
    conversation_id: str
    scheduled_message_id: str
    group_id: str
    upload_id: str
    media_id: str
    hold_id: str
    archive_cursor: str
    contact_code: str
    join_code: str
    red_packet_id: str
    sign_in_provider_id: str
    app: app_pb2.App
    app_token: str
    class_id: int
    student_id: str
    parent_id: str
    link_id: str
    partner_corp_id: str
    linked_app_token: str
    """Of the partner's app, which the link lets into the corp."""

    other_owner: SignedIn
    other_customer: SignedInCustomer

    def secrets_of_the_corp(self) -> list[str]:
        """What must never appear in an answer to somebody of another corp."""
        return [
            self.colleague_id,
            self.conversation_id,
            self.scheduled_message_id,
            self.group_id,
            self.upload_id,
            self.media_id,
            self.hold_id,
            self.contact_code,
            self.join_code,
            self.red_packet_id,
            self.sign_in_provider_id,
            self.owner.tokens.session_id,
            self.app.name,
            self.app.secrets[0].secret_id,
            self.rule_id,
            STUDENT_NAME,
            PARENT_MOBILE,
            self.link_id,
        ]


Request = Callable[[World], Message]


def new_id() -> str:
    return str(uuid.uuid4())
