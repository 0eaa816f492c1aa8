"""TagService: translates between protobuf and the rules, nothing else."""

from tieline.api.directory.v1 import tag_service_pb2, tag_service_pb2_grpc
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Pool
from tieline.directory.corp_writes import CorpWrite, written_once
from tieline.directory.masks import check_mask
from tieline.directory.repositories import tags
from tieline.directory.tags import changes as tag_changes
from tieline.directory.tags.messages import to_tag
from tieline.directory.tags.rules import (
    check_new_id,
    check_nodes,
    read_name,
    tag_not_found_error,
)
from tieline.directory.visibility.viewers import Viewers

# Where a page token stands that goes on among the members.
_BEHIND_ALL_DEPARTMENTS = 2**63 - 1


class TagServicer(tag_service_pb2_grpc.TagServiceServicer):
    """Keeps the tags of its callers' corps."""

    def __init__(self, pool: Pool, page_tokens: PageTokens, viewers: Viewers) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._viewers = viewers

    async def CreateTag(
        self, request: tag_service_pb2.CreateTagRequest, context: Context
    ) -> tag_service_pb2.CreateTagResponse:
        """Add a tag, at most once per ``request_id``."""
        violations: dict[str, str] = {}
        name = read_name(request.tag.name, violations)
        check_new_id(request.tag.tag_id, violations)
        raise_violations(violations)

        async def act(write: CorpWrite) -> tag_service_pb2.CreateTagResponse:
            tag = await tag_changes.create_tag(write, request.tag.tag_id, name)
            return tag_service_pb2.CreateTagResponse(tag=to_tag(tag))

        return await written_once(
            self._pool, self._viewers, request, tag_service_pb2.CreateTagResponse, act
        )

    async def GetTag(
        self, request: tag_service_pb2.GetTagRequest, context: Context
    ) -> tag_service_pb2.GetTagResponse:
        """Return one tag."""
        corp_id = current_principal().require_corp(request.corp_id)
        async with self._pool.acquire() as connection:
            tag = await tags.find_tag(connection, corp_id, request.tag_id)
        if tag is None:
            raise tag_not_found_error(request.tag_id)
        return tag_service_pb2.GetTagResponse(tag=to_tag(tag))

    async def ListTags(
        self, request: tag_service_pb2.ListTagsRequest, context: Context
    ) -> tag_service_pb2.ListTagsResponse:
        """List tags by id."""
        corp_id = current_principal().require_corp(request.corp_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            listed = await tags.list_tags(
                connection,
                corp_id,
                after_tag_id=0 if position is None else int(position[0]),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(
            listed, size, request, lambda tag: [tag.tag_id]
        )
        return tag_service_pb2.ListTagsResponse(
            tags=map(to_tag, page), next_page_token=next_page_token
        )

    async def UpdateTag(
        self, request: tag_service_pb2.UpdateTagRequest, context: Context
    ) -> tag_service_pb2.UpdateTagResponse:
        """Rename a tag, at most once per ``request_id``."""
        violations: dict[str, str] = {}
        check_mask(request.update_mask, ["name"], "update_mask", violations)
        name = read_name(request.tag.name, violations)
        raise_violations(violations)

        async def act(write: CorpWrite) -> tag_service_pb2.UpdateTagResponse:
            tag = await tag_changes.rename_tag(write, request.tag.tag_id, name, request.tag.etag)
            return tag_service_pb2.UpdateTagResponse(tag=to_tag(tag))

        return await written_once(
            self._pool, self._viewers, request, tag_service_pb2.UpdateTagResponse, act
        )

    async def DeleteTag(
        self, request: tag_service_pb2.DeleteTagRequest, context: Context
    ) -> tag_service_pb2.DeleteTagResponse:
        """Delete a tag, at most once per ``request_id``."""

        async def act(write: CorpWrite) -> tag_service_pb2.DeleteTagResponse:
            await tag_changes.delete_tag(write, request.tag_id, request.etag)
            return tag_service_pb2.DeleteTagResponse()

        return await written_once(
            self._pool, self._viewers, request, tag_service_pb2.DeleteTagResponse, act
        )

    async def AddTagMembers(
        self, request: tag_service_pb2.AddTagMembersRequest, context: Context
    ) -> tag_service_pb2.AddTagMembersResponse:
        """Tag members and departments, at most once per ``request_id``."""
        check_nodes(request.user_ids, request.department_ids)

        async def act(write: CorpWrite) -> tag_service_pb2.AddTagMembersResponse:
            nodes = await tag_changes.add_nodes(
                write, request.tag_id, request.user_ids, request.department_ids
            )
            return tag_service_pb2.AddTagMembersResponse(
                invalid_user_ids=nodes.invalid_user_ids,
                invalid_department_ids=nodes.invalid_department_ids,
            )

        return await written_once(
            self._pool, self._viewers, request, tag_service_pb2.AddTagMembersResponse, act
        )

    async def RemoveTagMembers(
        self, request: tag_service_pb2.RemoveTagMembersRequest, context: Context
    ) -> tag_service_pb2.RemoveTagMembersResponse:
        """Take a tag off members and departments, at most once per ``request_id``."""
        check_nodes(request.user_ids, request.department_ids)

        async def act(write: CorpWrite) -> tag_service_pb2.RemoveTagMembersResponse:
            nodes = await tag_changes.remove_nodes(
                write, request.tag_id, request.user_ids, request.department_ids
            )
            return tag_service_pb2.RemoveTagMembersResponse(
                invalid_user_ids=nodes.invalid_user_ids,
                invalid_department_ids=nodes.invalid_department_ids,
            )

        return await written_once(
            self._pool, self._viewers, request, tag_service_pb2.RemoveTagMembersResponse, act
        )

    async def ListTagMembers(
        self, request: tag_service_pb2.ListTagMembersRequest, context: Context
    ) -> tag_service_pb2.ListTagMembersResponse:
        """List the departments and then the members that have a tag."""
        corp_id = current_principal().require_corp(request.corp_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        after = self._page_tokens.decode(request.page_token, request) or [0, ""]
        after_department_id, after_user_id = int(after[0]), str(after[1])
        nodes: list[tuple[int, str]] = []
        async with self._viewers.reading(current_principal(), corp_id) as (connection, viewer):
            if await tags.find_tag(connection, corp_id, request.tag_id) is None:
                raise tag_not_found_error(request.tag_id)
            if not after_user_id:
                department_ids = await tags.list_tagged_departments(
                    connection,
                    corp_id,
                    request.tag_id,
                    viewer=viewer,
                    after=after_department_id,
                    limit=size + 1,
                )
                nodes += [(department_id, "") for department_id in department_ids]
            if len(nodes) <= size:
                user_ids = await tags.list_tagged_members(
                    connection,
                    corp_id,
                    request.tag_id,
                    viewer=viewer,
                    after=after_user_id,
                    limit=size + 1 - len(nodes),
                )
                # Behind every department: a page that ends here goes on with members.
                nodes += [(_BEHIND_ALL_DEPARTMENTS, user_id) for user_id in user_ids]
        page, next_page_token = self._page_tokens.cut(nodes, size, request, lambda node: node)
        return tag_service_pb2.ListTagMembersResponse(
            department_ids=[department_id for department_id, user_id in page if not user_id],
            user_ids=[user_id for _, user_id in page if user_id],
            next_page_token=next_page_token,
        )
