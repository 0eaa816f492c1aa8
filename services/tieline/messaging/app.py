"""Messaging put together: the one module that knows every class."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType

from tieline.api.messaging.v1 import (
    app_message_service_pb2,
    app_message_service_pb2_grpc,
    archive_service_pb2,
    archive_service_pb2_grpc,
    compliance_service_pb2,
    compliance_service_pb2_grpc,
    conversation_service_pb2,
    conversation_service_pb2_grpc,
    media_service_pb2,
    media_service_pb2_grpc,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
    push_service_pb2,
    push_service_pb2_grpc,
    reading_service_pb2,
    reading_service_pb2_grpc,
    scheduled_message_service_pb2,
    scheduled_message_service_pb2_grpc,
    search_service_pb2,
    search_service_pb2_grpc,
    sensitive_word_service_pb2,
    sensitive_word_service_pb2_grpc,
)
from tieline.chassis.admission.priorities import LOWEST_PRIORITY
from tieline.chassis.commit_batch import CommitBatcher
from tieline.chassis.corps_purge import purging_corps
from tieline.chassis.events import consuming
from tieline.chassis.grpc_server import Served
from tieline.chassis.postgres import ConstraintErrors, Pool, create_pool
from tieline.chassis.requests import answering
from tieline.chassis.runtime import ServiceRuntime, service_runtime
from tieline.chassis.streams import durables_of, stream_of
from tieline.messaging.answers import build_handlers
from tieline.messaging.app_messages.card_updates import CardUpdate
from tieline.messaging.app_messages.reach import AppReach
from tieline.messaging.app_messages.runner import JOB_CONNECTIONS, AppMessageRunner
from tieline.messaging.app_messages.sends import AppSends
from tieline.messaging.app_messages.servicer import AppMessageServicer
from tieline.messaging.app_messages.turns import Turns
from tieline.messaging.compliance.archive_servicer import ArchiveServicer
from tieline.messaging.compliance.retention_upkeep import applying_retention
from tieline.messaging.compliance.sensitive_word_servicer import SensitiveWordServicer
from tieline.messaging.compliance.servicer import ComplianceServicer
from tieline.messaging.compliance.word_screen import WordScreen
from tieline.messaging.consumer import ContactsEvents
from tieline.messaging.conversations.servicer import ConversationServicer
from tieline.messaging.corp_events import CORP_HANDLERS
from tieline.messaging.corps_purge import purge
from tieline.messaging.groups.departures import taking_out
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.live.connected_devices import ConnectedDevices
from tieline.messaging.live.subscribers import LiveHub
from tieline.messaging.media.images import ImageWorkers
from tieline.messaging.media.object_store import open_store
from tieline.messaging.media.servicer import MediaServicer
from tieline.messaging.media.upkeep import purging_media
from tieline.messaging.media.uploading import Uploader
from tieline.messaging.messages.rules import Send, client_message_id_used_error
from tieline.messaging.messages.servicer import MessageServicer
from tieline.messaging.push.pushing import offline_push
from tieline.messaging.push.servicer import PushServicer
from tieline.messaging.reading.servicer import ReadingServicer, StateBatcher
from tieline.messaging.reading.state_changes import StateChanger
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.scheduled_messages.runner import ScheduleRunner
from tieline.messaging.scheduled_messages.servicer import ScheduledMessageServicer
from tieline.messaging.search.index import indexing
from tieline.messaging.search.servicer import SearchServicer
from tieline.messaging.sending.batches import Sender
from tieline.messaging.servicer import MessagingServicer
from tieline.messaging.settings import MessagingSettings
from tieline.messaging.suspended_corps import SuspendedCorps
from tieline.messaging.upkeep import keeping_up

SETTINGS = MessagingSettings

# Only of messages stored before there were tables by month, and until the first of those begins.
CONSTRAINT_ERRORS: ConstraintErrors = MappingProxyType(
    {"messages_client_message_id_unique": client_message_id_used_error}
)


@asynccontextmanager
async def role(settings: MessagingSettings) -> AsyncIterator[None]:
    """Run messaging. What is entered last is left first: no request outlives what it needs."""
    async with (
        service_runtime(settings, SCHEMA, constraint_errors=CONSTRAINT_ERRORS) as runtime,
        AsyncExitStack() as stack,
    ):
        pool, broker = runtime.pool, runtime.broker
        store = open_store(settings)
        await stack.enter_async_context(keeping_up(pool))
        announcer = await stack.enter_async_context(Announcer(pool, broker))
        words = WordScreen(pool)
        await stack.enter_async_context(words.kept_current())
        sender = Sender(announcer, words.screen)
        batcher: CommitBatcher[Send, messaging_pb2.Message] = CommitBatcher(
            pool, sender.commit, attempt=sender.attempt
        )
        await stack.enter_async_context(batcher)
        await stack.enter_async_context(ScheduleRunner(pool, broker, sender.commit).running())
        states: StateBatcher = CommitBatcher(pool, StateChanger(announcer).commit)
        await stack.enter_async_context(states)
        hub = await stack.enter_async_context(LiveHub(pool, broker))
        await stack.enter_async_context(
            answering(broker, SCHEMA, build_handlers(pool, words.screen), control=runtime.control)
        )
        await stack.enter_async_context(taking_out(pool, announcer))
        await stack.enter_async_context(indexing(pool))
        await stack.enter_async_context(purging_corps(pool, purge))
        suspended = SuspendedCorps(pool)
        await stack.enter_async_context(suspended.following())
        devices = ConnectedDevices(pool)
        await stack.enter_async_context(offline_push(settings, pool, broker, devices))
        reach = AppReach(broker)
        app_sends = AppSends(pool, reach)
        jobs = await stack.enter_async_context(_job_pool(runtime))
        runner = AppMessageRunner(
            jobs,
            Turns(jobs, announcer, sender, reach),
            # While what can wait is refused, what an app's job does waits too.
            lambda: runtime.control.level >= LOWEST_PRIORITY,
        )
        await stack.enter_async_context(runner.running())
        for durable in durables_of(SCHEMA):
            if durable.stream == stream_of(SCHEMA):
                continue  # offline push's
            handlers = {**ContactsEvents(announcer).handlers(), **CORP_HANDLERS}
            await stack.enter_async_context(consuming(broker, pool, SCHEMA, durable, handlers))
        await stack.enter_async_context(purging_media(pool, store))
        await stack.enter_async_context(applying_retention(pool))
        images = stack.enter_context(ImageWorkers())
        media = MediaServicer(pool, store, Uploader(pool, store, images))
        servicer = MessagingServicer(
            pool=pool,
            broker=broker,
            page_tokens=runtime.page_tokens,
            batcher=batcher,
            announcer=announcer,
            hub=hub,
            screen=words.screen,
            suspended=suspended,
            app_sends=app_sends,
            devices=devices,
        )
        await stack.enter_async_context(
            runtime.serving(
                Served(
                    messaging_service_pb2_grpc.add_MessagingServiceServicer_to_server,
                    servicer,
                    messaging_service_pb2.DESCRIPTOR.services_by_name["MessagingService"],
                ),
                Served(
                    app_message_service_pb2_grpc.add_AppMessageServiceServicer_to_server,
                    AppMessageServicer(
                        pool,
                        runtime.page_tokens,
                        reach,
                        runner,
                        CardUpdate(announcer),
                        words.screen,
                        suspended,
                    ),
                    app_message_service_pb2.DESCRIPTOR.services_by_name["AppMessageService"],
                ),
                Served(
                    search_service_pb2_grpc.add_SearchServiceServicer_to_server,
                    SearchServicer(pool, runtime.page_tokens),
                    search_service_pb2.DESCRIPTOR.services_by_name["SearchService"],
                ),
                Served(
                    message_service_pb2_grpc.add_MessageServiceServicer_to_server,
                    MessageServicer(
                        pool,
                        announcer,
                        batcher,
                        words.screen,
                        runtime.page_tokens,
                        suspended,
                        app_sends,
                    ),
                    message_service_pb2.DESCRIPTOR.services_by_name["MessageService"],
                ),
                Served(
                    reading_service_pb2_grpc.add_ReadingServiceServicer_to_server,
                    ReadingServicer(pool, broker, runtime.page_tokens, states),
                    reading_service_pb2.DESCRIPTOR.services_by_name["ReadingService"],
                ),
                Served(
                    archive_service_pb2_grpc.add_ArchiveServiceServicer_to_server,
                    ArchiveServicer(pool, store, runtime.page_tokens),
                    archive_service_pb2.DESCRIPTOR.services_by_name["ArchiveService"],
                ),
                Served(
                    conversation_service_pb2_grpc.add_ConversationServiceServicer_to_server,
                    ConversationServicer(pool, broker, announcer, app_sends, words.screen),
                    conversation_service_pb2.DESCRIPTOR.services_by_name["ConversationService"],
                ),
                Served(
                    sensitive_word_service_pb2_grpc.add_SensitiveWordServiceServicer_to_server,
                    SensitiveWordServicer(pool, runtime.page_tokens),
                    sensitive_word_service_pb2.DESCRIPTOR.services_by_name["SensitiveWordService"],
                ),
                Served(
                    compliance_service_pb2_grpc.add_ComplianceServiceServicer_to_server,
                    ComplianceServicer(pool, runtime.page_tokens),
                    compliance_service_pb2.DESCRIPTOR.services_by_name["ComplianceService"],
                ),
                Served(
                    media_service_pb2_grpc.add_MediaServiceServicer_to_server,
                    media,
                    media_service_pb2.DESCRIPTOR.services_by_name["MediaService"],
                ),
                Served(
                    push_service_pb2_grpc.add_PushServiceServicer_to_server,
                    PushServicer(pool),
                    push_service_pb2.DESCRIPTOR.services_by_name["PushService"],
                ),
                Served(
                    scheduled_message_service_pb2_grpc.add_ScheduledMessageServiceServicer_to_server,
                    ScheduledMessageServicer(pool, runtime.page_tokens),
                    scheduled_message_service_pb2.DESCRIPTOR.services_by_name[
                        "ScheduledMessageService"
                    ],
                ),
            )
        )
        yield


@asynccontextmanager
async def _job_pool(runtime: ServiceRuntime) -> AsyncIterator[Pool]:
    """Connect for what apps send to many, whose commits are told of as those of all others."""
    async with create_pool(
        runtime.settings.database_dsn.get_secret_value(),
        service=SCHEMA,
        max_size=JOB_CONNECTIONS,
        health=runtime.health,
        constraint_errors=CONSTRAINT_ERRORS,
    ) as pool:
        pool.share_wakes(runtime.pool)
        yield pool
