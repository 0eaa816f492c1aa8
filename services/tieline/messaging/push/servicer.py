"""PushService: between the wire and where devices are reached."""

from tieline.api.messaging.v1 import push_service_pb2, push_service_pb2_grpc
from tieline.chassis.audit import record_act
from tieline.chassis.authorization import Right
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import check_text, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.callers import require_user
from tieline.messaging.compliance.servicer import require_corp
from tieline.messaging.known_people import check_known
from tieline.messaging.push.quiet_hours import check_quiet_hours
from tieline.messaging.push.targets import check_target, target_to_proto
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.push_targets import PushTargetRepository

_MAX_SESSION_ID_CHARACTERS = 64


class PushServicer(push_service_pb2_grpc.PushServiceServicer):
    """Targets and their people's settings; ``pushing`` uses them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def RegisterPushTarget(
        self, request: push_service_pb2.RegisterPushTargetRequest, context: Context
    ) -> push_service_pb2.RegisterPushTargetResponse:
        """Set where the caller's device is reached."""
        user = require_user(request.corp_id)
        new = check_target(request)
        async with transaction(self._pool) as connection:
            await check_known(connection, user)
            target = await PushTargetRepository(connection).register(
                user, current_principal().session_id, new
            )
        return push_service_pb2.RegisterPushTargetResponse(target=target_to_proto(target))

    async def UnregisterPushTarget(
        self, request: push_service_pb2.UnregisterPushTargetRequest, context: Context
    ) -> push_service_pb2.UnregisterPushTargetResponse:
        """Forget a device of the caller's; a repeat changes nothing."""
        user = require_user(request.corp_id)
        violations: dict[str, str] = {}
        check_text(
            request.session_id,
            "session_id",
            violations,
            minimum=0,
            maximum=_MAX_SESSION_ID_CHARACTERS,
        )
        raise_violations(violations)
        session_id = request.session_id or current_principal().session_id
        async with transaction(self._pool) as connection:
            await PushTargetRepository(connection).unregister(user, session_id)
        return push_service_pb2.UnregisterPushTargetResponse()

    async def ListPushTargets(
        self, request: push_service_pb2.ListPushTargetsRequest, context: Context
    ) -> push_service_pb2.ListPushTargetsResponse:
        """List the caller's devices."""
        user = require_user(request.corp_id)
        async with self._pool.acquire() as connection:
            targets = await PushTargetRepository(connection).list_of(user)
        return push_service_pb2.ListPushTargetsResponse(targets=map(target_to_proto, targets))

    async def SetQuietHours(
        self, request: push_service_pb2.SetQuietHoursRequest, context: Context
    ) -> push_service_pb2.SetQuietHoursResponse:
        """Set when nothing is pushed to the caller."""
        user = require_user(request.corp_id)
        stored = None
        if request.HasField("quiet_hours"):
            check_quiet_hours(request.quiet_hours)
            stored = request.quiet_hours.SerializeToString(deterministic=True)
        async with transaction(self._pool) as connection:
            await check_known(connection, user)
            await PushTargetRepository(connection).set_quiet_hours(user, stored)
        return push_service_pb2.SetQuietHoursResponse()

    async def GetQuietHours(
        self, request: push_service_pb2.GetQuietHoursRequest, context: Context
    ) -> push_service_pb2.GetQuietHoursResponse:
        """Return when nothing is pushed to the caller."""
        user = require_user(request.corp_id)
        async with self._pool.acquire() as connection:
            stored = await PushTargetRepository(connection).find_quiet_hours(user)
        response = push_service_pb2.GetQuietHoursResponse()
        if stored is not None:
            response.quiet_hours.ParseFromString(stored)
        return response

    async def SetPushPreviews(
        self, request: push_service_pb2.SetPushPreviewsRequest, context: Context
    ) -> push_service_pb2.SetPushPreviewsResponse:
        """Set whether pushes to the caller tell what is said."""
        user = require_user(request.corp_id)
        async with transaction(self._pool) as connection:
            await check_known(connection, user)
            await PushTargetRepository(connection).hide_previews(user, hidden=request.hidden)
        return push_service_pb2.SetPushPreviewsResponse()

    async def GetPushPreviews(
        self, request: push_service_pb2.GetPushPreviewsRequest, context: Context
    ) -> push_service_pb2.GetPushPreviewsResponse:
        """Return whether pushes to the caller tell what is said."""
        user = require_user(request.corp_id)
        async with self._pool.acquire() as connection:
            previews = await PushTargetRepository(connection).find_previews(user)
        return push_service_pb2.GetPushPreviewsResponse(
            hidden=previews.by_person, hidden_by_corp=previews.by_corp
        )

    async def SetCorpPushPreviews(
        self, request: push_service_pb2.SetCorpPushPreviewsRequest, context: Context
    ) -> push_service_pb2.SetCorpPushPreviewsResponse:
        """Set whether pushes of the corp tell what is said."""
        corp_id = require_corp(request.corp_id, Right.MANAGE_COMPLIANCE)
        async with transaction(self._pool) as connection:
            repository = PushTargetRepository(connection)
            if await repository.hide_corp_previews(corp_id, hidden=request.hidden):
                details = {"hidden": str(request.hidden).lower()}
                await record_act(
                    connection,
                    SCHEMA,
                    corp_id=corp_id,
                    action="messaging.push_previews.set",
                    resource="pushPreviews",
                    details=details,
                )
        return push_service_pb2.SetCorpPushPreviewsResponse()
