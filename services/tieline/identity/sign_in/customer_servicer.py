"""CustomerSignInService: translates between the wire and the customers' one-time codes."""

from tieline.api.identity.v1 import (
    customer_sign_in_service_pb2,
    customer_sign_in_service_pb2_grpc,
)
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.identity.one_time_codes.rules import Purpose, read_customer_receiver
from tieline.identity.one_time_codes.sign_in import NO_CORP, CodeSignIn
from tieline.identity.sessions.device_messages import read_device


class CustomerSignInServicer(customer_sign_in_service_pb2_grpc.CustomerSignInServiceServicer):
    """The customers' way in without a channel."""

    def __init__(self, codes: CodeSignIn) -> None:
        self._codes = codes

    async def RequestCustomerSignInCode(
        self,
        request: customer_sign_in_service_pb2.RequestCustomerSignInCodeRequest,
        context: Context,
    ) -> customer_sign_in_service_pb2.RequestCustomerSignInCodeResponse:
        """Have a one-time code sent."""
        violations: dict[str, str] = {}
        kind = request.WhichOneof("receiver")
        address = getattr(request, kind) if kind else ""
        receiver = read_customer_receiver(kind, address, violations)
        raise_violations(violations)
        assert receiver is not None, "otherwise there are violations"
        code_id, expire_time = await self._codes.request(
            NO_CORP, Purpose.CUSTOMER_SIGN_IN, receiver
        )
        return customer_sign_in_service_pb2.RequestCustomerSignInCodeResponse(
            code_id=code_id, expire_time=to_timestamp(expire_time)
        )

    async def SignInCustomerByCode(
        self, request: customer_sign_in_service_pb2.SignInCustomerByCodeRequest, context: Context
    ) -> customer_sign_in_service_pb2.SignInCustomerByCodeResponse:
        """Open a session by a one-time code."""
        session, customer_id = await self._codes.sign_in_customer(
            request.code_id, request.code, request.display_name, read_device(request)
        )
        return customer_sign_in_service_pb2.SignInCustomerByCodeResponse(
            session=session, customer_id=customer_id
        )
