"""An app's message over real services: identity says whom it sees, directory who that is."""

import json

from e2e.platform_process import PlatformProcess
from e2e.test_linked_corp_tokens import SHARED_DEPARTMENT, add_people, bearer, found_corp
from fakes.eventually import eventually
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import app_pb2, app_service_pb2
from tieline.api.messaging.v1 import app_message_service_pb2, messaging_pb2
from tieline.client import Tieline


async def test_an_app_reaches_its_visible_range_and_nobody_else(
    tieline: Tieline, platform: PlatformProcess
) -> None:
    secrets = json.loads(platform.data.secrets_file.read_text())
    administrator = await tieline.sign_in_platform_administrator(
        "platform", secrets["platform_administrator_password"]
    )
    corp_id, owner = await found_corp(tieline, administrator)
    await add_people(owner)
    created = await owner.apps.CreateApp(
        app_service_pb2.CreateAppRequest(
            app=app_pb2.App(
                name="News",
                rights=[access_pb2.RIGHT_SEND_APP_MESSAGES],
                visible_range=app_pb2.AppRange(
                    user_ids=["owner"], department_ids=[SHARED_DEPARTMENT]
                ),
            )
        )
    )
    token = await tieline.apps.CreateAppToken(
        app_service_pb2.CreateAppTokenRequest(corp_id=corp_id, secret=created.secret)
    )
    metadata = bearer(token.access_token)

    response = await tieline.app_messages.SendAppMessage(
        app_message_service_pb2.SendAppMessageRequest(
            audience=app_message_service_pb2.AppMessageAudience(
                user_ids=["owner", "other.one"], department_ids=[1]
            ),
            content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="news")),
        ),
        metadata=metadata,
    )

    async def is_sent() -> bool:
        got = await tieline.app_messages.GetAppMessageJob(
            app_message_service_pb2.GetAppMessageJobRequest(job_id=response.job.job_id),
            metadata=metadata,
        )
        return bool(got.job.state == app_message_service_pb2.APP_MESSAGE_JOB_STATE_SENT)

    await eventually(is_sent)
    got = await tieline.app_messages.GetAppMessageJob(
        app_message_service_pb2.GetAppMessageJobRequest(job_id=response.job.job_id),
        metadata=metadata,
    )
    # The root is on the way to the app's department; only those in the range get the message.
    assert list(response.job.invalid.user_ids) == ["other.one"]
    assert (got.job.recipient_count, got.job.sent_count) == (2, 2)
