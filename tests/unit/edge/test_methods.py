from tieline.chassis.streams import SERVICES
from tieline.edge.methods import list_methods


def test_every_method_of_every_service_is_known_with_its_class() -> None:
    methods = {method.path: method for method in list_methods(SERVICES)}

    assert {method.service for method in methods.values()} == set(SERVICES)
    assert {method.business_class for method in methods.values()} == {1, 2, 3, 4}
    send = methods["/tieline.api.messaging.v1.MessagingService/SendMessage"]
    assert (send.business_class, send.is_stream) == (2, False)
    subscribe = methods["/tieline.api.messaging.v1.MessagingService/Subscribe"]
    assert subscribe.is_stream


def test_methods_that_need_no_token_are_known() -> None:
    anonymous = {method.path for method in list_methods(SERVICES) if method.is_anonymous}

    assert "/tieline.api.identity.v1.SigningKeyService/GetJwks" in anonymous
    assert not any("messaging" in path for path in anonymous)


def test_methods_come_in_the_same_order_each_time() -> None:
    assert list_methods(SERVICES) == list_methods(SERVICES)
