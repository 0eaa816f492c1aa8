"""What callers say of an import, and what they are told, between protobuf and the rules."""

from collections.abc import Mapping
from typing import TypeVar

from tieline.api.directory.v1 import directory_service_pb2, import_options_pb2
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.directory.imports.csv_rows import Encoding
from tieline.directory.imports.options import Format, Mode, Options
from tieline.directory.imports.progress import Progress
from tieline.directory.imports.totals import errors_to_proto

V = TypeVar("V")

FORMATS = {
    import_options_pb2.FILE_FORMAT_UNSPECIFIED: Format.CSV,
    import_options_pb2.FILE_FORMAT_CSV: Format.CSV,
    import_options_pb2.FILE_FORMAT_XLSX: Format.XLSX,
}
ENCODINGS = {
    import_options_pb2.TEXT_ENCODING_UNSPECIFIED: Encoding.UTF_8,
    import_options_pb2.TEXT_ENCODING_UTF_8: Encoding.UTF_8,
    import_options_pb2.TEXT_ENCODING_GB18030: Encoding.GB18030,
    import_options_pb2.TEXT_ENCODING_AUTO: Encoding.AUTO,
}
_MODES = {
    import_options_pb2.IMPORT_MODE_UNSPECIFIED: Mode.UPSERT,
    import_options_pb2.IMPORT_MODE_UPSERT: Mode.UPSERT,
    import_options_pb2.IMPORT_MODE_REPLACE_MEMBERS: Mode.REPLACE_MEMBERS,
    import_options_pb2.IMPORT_MODE_REPLACE_DEPARTMENTS: Mode.REPLACE_DEPARTMENTS,
}


def read_options(message: import_options_pb2.ImportOptions, field: str) -> Options:
    """Return the options, or raise for each that this version does not know."""
    format_ = FORMATS.get(message.format)
    encoding = ENCODINGS.get(message.encoding)
    mode = _MODES.get(message.mode)
    violations: dict[str, str] = {}
    if format_ is None:
        violations[f"{field}.format"] = "must be one of the formats"
    if encoding is None:
        violations[f"{field}.encoding"] = "must be one of the encodings"
    if mode is None:
        violations[f"{field}.mode"] = "must be one of the modes"
    if message.confirmed_removals < 0:
        violations[f"{field}.confirmed_removals"] = "must not be negative"
    if format_ is None or encoding is None or mode is None or violations:
        raise InvalidArgumentError(violations)
    return Options(format_, encoding, mode, message.dry_run, message.confirmed_removals)


def options_to_proto(options: Options) -> import_options_pb2.ImportOptions:
    """Return the options as the API has them."""
    return import_options_pb2.ImportOptions(
        format=_find_value(FORMATS, options.format),
        encoding=_find_value(ENCODINGS, options.encoding),
        mode=_find_value(_MODES, options.mode),
        dry_run=options.is_dry_run,
        confirmed_removals=options.confirmed_removals,
    )


def check_range(principal: Principal, corp_id: str, mode: Mode) -> None:
    """Refuse a caller who may not do this somewhere in the corp.

    Rows of an upsert are looked at one by one; what replaces reaches the whole corp.
    """
    if mode is Mode.UPSERT:
        resource = Resource(corp_id, principal.department_ids or None)
    else:
        resource = Resource(corp_id)
    require(principal, Right.MANAGE_DIRECTORY, resource)


def find_caller_user_id(principal: Principal) -> str:
    """Return the member that the caller is; empty for an app."""
    return principal.id if principal.kind is PrincipalKind.MEMBER else ""


def _find_value(values: Mapping[V, object], meaning: object) -> V:
    # The last one: the first stands for whatever is left out.
    return [value for value, each in values.items() if each == meaning][-1]


def progress_to_proto(progress: Progress) -> directory_service_pb2.ImportMembersResponse:
    """Return what a caller of ImportMembers is told after a transaction."""
    totals = progress.totals
    return directory_service_pb2.ImportMembersResponse(
        committed_rows=totals.added + totals.updated,
        committed_bytes=progress.end_byte,
        errors=errors_to_proto(progress.errors),
        summary=totals.to_proto() if progress.is_last else None,
    )
