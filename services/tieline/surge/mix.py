"""What people do on such a day, how often, and how much each matters. Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from tieline.api.common.v1 import priority_pb2
from tieline.api.contacts.v1 import contacts_service_pb2
from tieline.api.directory.v1 import directory_service_pb2
from tieline.api.identity.v1 import identity_service_pb2
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.api.payments.v1 import payments_service_pb2

CLASS_NAMES: Mapping[int, str] = {1: "CRITICAL", 2: "HIGH", 3: "NORMAL", 4: "LOW"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that people do."""

    name: str
    service: str
    method: MethodDescriptor

    @property
    def path(self) -> str:
        """``/package.Service/Method``."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def business_class(self) -> int:
        """What the protos say, 1 (CRITICAL) to 4 (LOW)."""
        return int(self.method.GetOptions().Extensions[priority_pb2.business_class])


def _kind(name: str, service: str, module: object, service_name: str, method: str) -> Kind:
    services = module.DESCRIPTOR.services_by_name  # type: ignore[attr-defined]
    return Kind(name, service, services[service_name].methods_by_name[method])


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("sign-in", "identity", identity_service_pb2, "IdentityService", "SignInMember"),
        _kind("red-packet", "payments", payments_service_pb2, "PaymentsService", "OpenRedPacket"),
        _kind("message", "messaging", messaging_service_pb2, "MessagingService", "SendMessage"),
        _kind("lookup", "directory", directory_service_pb2, "DirectoryService", "GetMember"),
        _kind("contact", "contacts", contacts_service_pb2, "ContactsService", "AddContact"),
        _kind("search", "directory", directory_service_pb2, "DirectoryService", "SearchMembers"),
    )
}

DEFAULT_MIX: Mapping[str, float] = {
    # A sign-in costs a hundred times a message: the password is hashed slowly on purpose.
    "sign-in": 1,
    "red-packet": 9,
    "message": 30,
    "lookup": 35,
    "contact": 5,
    "search": 20,
}


class MixError(Exception):
    """A mix that can't be read; the text says why."""


def parse_mix(text: str) -> Mapping[str, float]:
    """Read ``message=30,lookup=70``. Raises MixError."""
    mix = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        if name not in KINDS:
            raise MixError(f"{name!r} is no kind of call; there are {', '.join(KINDS)}")
        try:
            mix[name] = float(weight)
        except ValueError:
            raise MixError(f"{part!r}: write {name}=WEIGHT") from None
        if not 0 <= mix[name] < float("inf"):
            raise MixError(f"{part!r}: a weight is a number from 0 on")
    if not sum(mix.values()):
        raise MixError("at least one weight must be above 0")
    return mix


def choose(mix: Mapping[str, float], chance: random.Random) -> str:
    """Return the name of a kind of call, each as often as its weight says."""
    names: Sequence[str] = list(mix)
    return chance.choices(names, weights=list(mix.values()))[0]
