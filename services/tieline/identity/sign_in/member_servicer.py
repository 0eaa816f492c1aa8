"""MemberSignInService: translates between the wire and the ways in."""

from collections.abc import AsyncIterator

from tieline.api.identity.v1 import (
    member_sign_in_service_pb2,
    member_sign_in_service_pb2_grpc,
    session_pb2,
    sign_in_pb2,
)
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.identity.one_time_codes.rules import Purpose, read_member_receiver
from tieline.identity.one_time_codes.sign_in import CodeSignIn, is_corp_id
from tieline.identity.passwords.change import PasswordChange
from tieline.identity.providers.sign_in import ProviderSignIn
from tieline.identity.qr_codes.rules import TEXT_PREFIX, QrState
from tieline.identity.qr_codes.sign_in import QrSignIns
from tieline.identity.sessions.device_messages import read_device, read_platform
from tieline.identity.sessions.devices import Device

_PURPOSES = {
    sign_in_pb2.ONE_TIME_CODE_PURPOSE_SIGN_IN: Purpose.SIGN_IN,
    sign_in_pb2.ONE_TIME_CODE_PURPOSE_PASSWORD_RESET: Purpose.PASSWORD_RESET,
}

_QR_STATES = {
    QrState.WAITING: sign_in_pb2.QR_SIGN_IN_STATE_WAITING,
    QrState.SCANNED: sign_in_pb2.QR_SIGN_IN_STATE_SCANNED,
    QrState.APPROVED: sign_in_pb2.QR_SIGN_IN_STATE_APPROVED,
    QrState.REJECTED: sign_in_pb2.QR_SIGN_IN_STATE_REJECTED,
    None: sign_in_pb2.QR_SIGN_IN_STATE_EXPIRED,
}


class MemberSignInServicer(member_sign_in_service_pb2_grpc.MemberSignInServiceServicer):
    """The ways in beside the password."""

    def __init__(
        self,
        codes: CodeSignIn,
        password_change: PasswordChange,
        providers: ProviderSignIn,
        qr_sign_ins: QrSignIns,
    ) -> None:
        self._codes = codes
        self._password_change = password_change
        self._providers = providers
        self._qr_sign_ins = qr_sign_ins

    async def RequestSignInCode(
        self, request: member_sign_in_service_pb2.RequestSignInCodeRequest, context: Context
    ) -> member_sign_in_service_pb2.RequestSignInCodeResponse:
        """Have a one-time code sent."""
        violations: dict[str, str] = {}
        kind = request.WhichOneof("receiver")
        address = getattr(request, kind) if kind else ""
        receiver = read_member_receiver(kind, address, violations)
        purpose = _PURPOSES.get(request.purpose)
        if purpose is None:
            violations["purpose"] = "must be one of the purposes"
        if not is_corp_id(request.corp_id):
            violations["corp_id"] = "must have the form of a corp's id"
        raise_violations(violations)
        assert receiver is not None, "otherwise there are violations"
        assert purpose is not None, "otherwise there are violations"
        code_id, expire_time = await self._codes.request(request.corp_id, purpose, receiver)
        return member_sign_in_service_pb2.RequestSignInCodeResponse(
            code_id=code_id, expire_time=to_timestamp(expire_time)
        )

    async def SignInByCode(
        self, request: member_sign_in_service_pb2.SignInByCodeRequest, context: Context
    ) -> member_sign_in_service_pb2.SignInByCodeResponse:
        """Open a session by a one-time code, or ask for the second factor."""
        entered, user_id = await self._codes.sign_in_member(
            request.corp_id, request.code_id, request.code, read_device(request)
        )
        return member_sign_in_service_pb2.SignInByCodeResponse(
            session=entered.session,
            second_factor_challenge=entered.challenge,
            user_id=user_id,
        )

    async def ResetPassword(
        self, request: member_sign_in_service_pb2.ResetPasswordRequest, context: Context
    ) -> member_sign_in_service_pb2.ResetPasswordResponse:
        """Set a new password by a one-time code."""
        user_id = await self._codes.reset_password(
            request.corp_id, request.code_id, request.code, request.password
        )
        return member_sign_in_service_pb2.ResetPasswordResponse(user_id=user_id)

    async def ChangePassword(
        self, request: member_sign_in_service_pb2.ChangePasswordRequest, context: Context
    ) -> member_sign_in_service_pb2.ChangePasswordResponse:
        """Set the caller's new password."""
        principal = current_principal()
        principal.require_corp(request.corp_id)
        await self._password_change.change(principal, request.old_password, request.new_password)
        return member_sign_in_service_pb2.ChangePasswordResponse()

    async def BeginProviderSignIn(
        self, request: member_sign_in_service_pb2.BeginProviderSignInRequest, context: Context
    ) -> member_sign_in_service_pb2.BeginProviderSignInResponse:
        """Return where the device goes next."""
        url, flow_secret, expire_time = await self._providers.begin(
            request.corp_id, request.provider_id, request.redirect_uri
        )
        return member_sign_in_service_pb2.BeginProviderSignInResponse(
            authorization_url=url, flow_secret=flow_secret, expire_time=to_timestamp(expire_time)
        )

    async def CompleteProviderSignIn(
        self, request: member_sign_in_service_pb2.CompleteProviderSignInRequest, context: Context
    ) -> member_sign_in_service_pb2.CompleteProviderSignInResponse:
        """Open a session by what the provider gave the device, or ask for the second factor."""
        entered, user_id = await self._providers.complete(
            request.corp_id,
            request.state,
            request.code,
            request.flow_secret,
            read_device(request),
        )
        return member_sign_in_service_pb2.CompleteProviderSignInResponse(
            session=entered.session,
            user_id=user_id,
            second_factor_challenge=entered.challenge,
        )

    async def LinkProviderAccount(
        self, request: member_sign_in_service_pb2.LinkProviderAccountRequest, context: Context
    ) -> member_sign_in_service_pb2.LinkProviderAccountResponse:
        """Tie an account at a provider to the caller."""
        principal = current_principal()
        principal.require_corp(request.corp_id)
        await self._providers.link(principal, request.state, request.code, request.flow_secret)
        return member_sign_in_service_pb2.LinkProviderAccountResponse()

    async def BeginQrSignIn(
        self, request: member_sign_in_service_pb2.BeginQrSignInRequest, context: Context
    ) -> member_sign_in_service_pb2.BeginQrSignInResponse:
        """Make a QR code."""
        begun = await self._qr_sign_ins.begin(
            Device(request.device_name, read_platform(request.device_platform))
        )
        return member_sign_in_service_pb2.BeginQrSignInResponse(
            qr_id=begun.qr_id,
            qr_text=f"{TEXT_PREFIX}{begun.qr_id}",
            poll_secret=begun.poll_secret,
            expire_time=to_timestamp(begun.expire_time),
        )

    async def WatchQrSignIn(
        self, request: member_sign_in_service_pb2.WatchQrSignInRequest, context: Context
    ) -> AsyncIterator[member_sign_in_service_pb2.WatchQrSignInResponse]:
        """Tell where the sign-in stands, and last the session."""
        async for seen in self._qr_sign_ins.watch(request.qr_id, request.poll_secret):
            yield member_sign_in_service_pb2.WatchQrSignInResponse(
                state=_QR_STATES[seen.state],
                session=seen.session,
                corp_id=seen.corp_id,
                user_id=seen.user_id,
            )

    async def ScanQrSignIn(
        self, request: member_sign_in_service_pb2.ScanQrSignInRequest, context: Context
    ) -> member_sign_in_service_pb2.ScanQrSignInResponse:
        """Take a QR code for the caller."""
        principal = current_principal()
        principal.require_corp(request.corp_id)
        found = await self._qr_sign_ins.scan(principal, request.qr_id)
        return member_sign_in_service_pb2.ScanQrSignInResponse(
            device_name=found.device.name,
            device_platform=session_pb2.DevicePlatform.ValueType(found.device.platform),
            address=found.address,
            begin_time=to_timestamp(found.create_time),
            expire_time=to_timestamp(found.expire_time),
        )

    async def DecideQrSignIn(
        self, request: member_sign_in_service_pb2.DecideQrSignInRequest, context: Context
    ) -> member_sign_in_service_pb2.DecideQrSignInResponse:
        """Let the device in as the caller, or refuse it."""
        principal = current_principal()
        principal.require_corp(request.corp_id)
        await self._qr_sign_ins.decide(principal, request.qr_id, is_approved=request.approved)
        return member_sign_in_service_pb2.DecideQrSignInResponse()
