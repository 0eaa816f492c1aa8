"""Composition root of the directory: the only module that knows every class."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from tieline.api.directory.v1 import (
    attribute_service_pb2,
    attribute_service_pb2_grpc,
    change_service_pb2,
    change_service_pb2_grpc,
    department_service_pb2,
    department_service_pb2_grpc,
    directory_service_pb2,
    directory_service_pb2_grpc,
    export_service_pb2,
    export_service_pb2_grpc,
    import_service_pb2,
    import_service_pb2_grpc,
    linked_corp_service_pb2,
    linked_corp_service_pb2_grpc,
    member_service_pb2,
    member_service_pb2_grpc,
    school_service_pb2,
    school_service_pb2_grpc,
    tag_service_pb2,
    tag_service_pb2_grpc,
    visibility_service_pb2,
    visibility_service_pb2_grpc,
)
from tieline.chassis.corps_purge import purging_corps
from tieline.chassis.events import consuming
from tieline.chassis.grpc_server import Served
from tieline.chassis.postgres import Pool, create_pool
from tieline.chassis.requests import answering
from tieline.chassis.runtime import ServiceRuntime, service_runtime
from tieline.chassis.streams import durables_of
from tieline.directory.answers import build_handlers
from tieline.directory.attributes.servicer import AttributeServicer
from tieline.directory.changes.feed import ChangesFeed
from tieline.directory.changes.hub import ChangesHub
from tieline.directory.changes.purge import purging
from tieline.directory.changes.servicer import ChangeServicer
from tieline.directory.consumer import HANDLERS
from tieline.directory.corps_purge import purge
from tieline.directory.departments.servicer import DepartmentServicer
from tieline.directory.exports.servicer import MAX_EXPORTS, ExportServicer
from tieline.directory.imports.running import RunningImports
from tieline.directory.imports.servicer import ImportServicer
from tieline.directory.imports.worker import ImportWorker
from tieline.directory.linked_corps.servicer import LinkedCorpServicer
from tieline.directory.members.servicer import MemberServicer
from tieline.directory.repositories import SCHEMA
from tieline.directory.repositories.import_jobs import CONSTRAINT_ERRORS
from tieline.directory.repositories.search import SESSION_SETTINGS
from tieline.directory.schools.servicer import SchoolServicer
from tieline.directory.search.index import indexing
from tieline.directory.search.members import MemberSearch
from tieline.directory.servicer import DirectoryServicer
from tieline.directory.settings import DirectorySettings
from tieline.directory.tags.servicer import TagServicer
from tieline.directory.visibility.app_ranges import IdentityAppRanges
from tieline.directory.visibility.audiences import Audiences
from tieline.directory.visibility.servicer import VisibilityServicer
from tieline.directory.visibility.viewers import Viewers

SETTINGS = DirectorySettings

# A search of a large corp keeps one for some 10 ms, most of them PostgreSQL's: more of them at once
# would only wait for each other there.
SEARCH_CONNECTIONS = 4


@asynccontextmanager
async def role(settings: DirectorySettings) -> AsyncIterator[None]:
    """Run the directory within the block."""
    async with (
        service_runtime(settings, SCHEMA, constraint_errors=CONSTRAINT_ERRORS) as runtime,
        AsyncExitStack() as stack,
    ):
        # One for all: what it keeps is bounded, and the same for whoever asks.
        viewers = Viewers(runtime.pool, IdentityAppRanges(runtime.broker))
        handlers = build_handlers(runtime.pool, Audiences(viewers))
        await stack.enter_async_context(
            answering(runtime.broker, SCHEMA, handlers, control=runtime.control)
        )
        for durable in durables_of(SCHEMA):
            await stack.enter_async_context(
                consuming(runtime.broker, runtime.pool, SCHEMA, durable, HANDLERS)
            )
        searches = await stack.enter_async_context(_search_pool(runtime))
        exports = await stack.enter_async_context(_export_pool(runtime))
        imports = RunningImports()
        worker = ImportWorker(runtime.pool, viewers, imports)
        await stack.enter_async_context(worker.running())
        await stack.enter_async_context(indexing(runtime.pool, imports))
        retention = dt.timedelta(days=settings.removal_retention_days)
        await stack.enter_async_context(purging(runtime.pool, retention))
        await stack.enter_async_context(purging_corps(runtime.pool, purge))
        feed = ChangesFeed(runtime.pool, runtime.page_tokens)
        hub = await stack.enter_async_context(ChangesHub(runtime.broker, feed))
        async with runtime.serving(
            *_services(runtime, settings, viewers, searches, imports),
            *_feed_schools_and_links(runtime, ChangeServicer(feed, hub, viewers), viewers),
            *_file_services(runtime, settings, worker, viewers, exports),
        ):
            yield


def _search_pool(runtime: ServiceRuntime) -> AbstractAsyncContextManager[Pool]:
    return create_pool(
        runtime.settings.database_dsn.get_secret_value(),
        service=SCHEMA,
        max_size=SEARCH_CONNECTIONS,
        health=runtime.health,
        session_settings=SESSION_SETTINGS,
    )


def _export_pool(runtime: ServiceRuntime) -> AbstractAsyncContextManager[Pool]:
    return create_pool(
        runtime.settings.database_dsn.get_secret_value(),
        service=SCHEMA,
        max_size=MAX_EXPORTS,
        health=runtime.health,
    )


def _file_services(
    runtime: ServiceRuntime,
    settings: DirectorySettings,
    worker: ImportWorker,
    viewers: Viewers,
    exports: Pool,
) -> list[Served[Any]]:
    pool, page_tokens = runtime.pool, runtime.page_tokens
    return [
        Served(
            import_service_pb2_grpc.add_ImportServiceServicer_to_server,
            ImportServicer(pool, page_tokens, viewers, worker, settings.import_max_bytes),
            import_service_pb2.DESCRIPTOR.services_by_name["ImportService"],
        ),
        Served(
            export_service_pb2_grpc.add_ExportServiceServicer_to_server,
            ExportServicer(pool, exports, viewers),
            export_service_pb2.DESCRIPTOR.services_by_name["ExportService"],
        ),
    ]


def _services(
    runtime: ServiceRuntime,
    settings: DirectorySettings,
    viewers: Viewers,
    searches: Pool,
    imports: RunningImports,
) -> list[Served[Any]]:
    pool, page_tokens = runtime.pool, runtime.page_tokens
    return [
        Served(
            directory_service_pb2_grpc.add_DirectoryServiceServicer_to_server,
            DirectoryServicer(
                pool,
                page_tokens,
                viewers,
                MemberSearch(searches, page_tokens, viewers),
                imports,
                settings.import_max_bytes,
            ),
            directory_service_pb2.DESCRIPTOR.services_by_name["DirectoryService"],
        ),
        Served(
            department_service_pb2_grpc.add_DepartmentServiceServicer_to_server,
            DepartmentServicer(pool, viewers),
            department_service_pb2.DESCRIPTOR.services_by_name["DepartmentService"],
        ),
        Served(
            member_service_pb2_grpc.add_MemberServiceServicer_to_server,
            MemberServicer(pool, page_tokens, viewers),
            member_service_pb2.DESCRIPTOR.services_by_name["MemberService"],
        ),
        Served(
            attribute_service_pb2_grpc.add_AttributeServiceServicer_to_server,
            AttributeServicer(pool, page_tokens, viewers),
            attribute_service_pb2.DESCRIPTOR.services_by_name["AttributeService"],
        ),
        Served(
            tag_service_pb2_grpc.add_TagServiceServicer_to_server,
            TagServicer(pool, page_tokens, viewers),
            tag_service_pb2.DESCRIPTOR.services_by_name["TagService"],
        ),
        Served(
            visibility_service_pb2_grpc.add_VisibilityServiceServicer_to_server,
            VisibilityServicer(pool, page_tokens, viewers),
            visibility_service_pb2.DESCRIPTOR.services_by_name["VisibilityService"],
        ),
    ]


def _feed_schools_and_links(
    runtime: ServiceRuntime, changes: ChangeServicer, viewers: Viewers
) -> list[Served[Any]]:
    return [
        Served(
            change_service_pb2_grpc.add_ChangeServiceServicer_to_server,
            changes,
            change_service_pb2.DESCRIPTOR.services_by_name["ChangeService"],
        ),
        Served(
            school_service_pb2_grpc.add_SchoolServiceServicer_to_server,
            SchoolServicer(runtime.pool, runtime.broker, runtime.page_tokens, viewers),
            school_service_pb2.DESCRIPTOR.services_by_name["SchoolService"],
        ),
        Served(
            linked_corp_service_pb2_grpc.add_LinkedCorpServiceServicer_to_server,
            LinkedCorpServicer(runtime.pool, runtime.page_tokens, viewers),
            linked_corp_service_pb2.DESCRIPTOR.services_by_name["LinkedCorpService"],
        ),
    ]
