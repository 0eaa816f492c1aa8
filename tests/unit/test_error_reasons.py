"""Every reason that the code gives is published in a proto, and every published one is given."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tieline.api.common.v1 import error_reason_pb2 as common_reasons
from tieline.chassis.streams import SERVICES

SOURCES = Path(__file__).parents[2] / "services" / "tieline"

ERROR_TYPES = {
    "UnauthenticatedError",
    "PermissionDeniedError",
    "NotFoundError",
    "AlreadyExistsError",
    "FailedPreconditionError",
    "AbortedError",
    "ResourceExhaustedError",
    "DeadlineExceededError",
    "UnavailableError",
}


def _published(module: object) -> set[str]:
    names = module.ErrorReason.keys()  # type: ignore[attr-defined]
    return {name.removeprefix("ERROR_REASON_") for name in names} - {"UNSPECIFIED"}


def _raised(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (reason, where) for every error that the folder's code builds with a literal reason."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            where = f"{path.relative_to(SOURCES)}:{node.lineno}"
            if node.func.id in ERROR_TYPES:
                reason = node.args[0] if node.args else None
                if isinstance(reason, ast.Constant) and isinstance(reason.value, str):
                    yield reason.value, where
            for keyword in node.keywords:
                is_reason = node.func.id == "InvalidArgumentError" and keyword.arg == "reason"
                # Others pass on a reason that was given elsewhere.
                if is_reason and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value), where


@pytest.mark.parametrize("service", SERVICES)
def test_every_reason_a_service_gives_is_published(service: str) -> None:
    own = importlib.import_module(f"tieline.api.{service}.v1.error_reason_pb2")
    published = _published(own) | _published(common_reasons)

    unknown = [
        f"{where}: {reason}"
        for reason, where in _raised(SOURCES / service)
        if reason not in published
    ]

    assert unknown == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_reason_a_service_publishes_is_given_somewhere(service: str) -> None:
    own = importlib.import_module(f"tieline.api.{service}.v1.error_reason_pb2")
    text = "".join(path.read_text(encoding="utf-8") for path in (SOURCES / service).rglob("*.py"))

    unused = [reason for reason in _published(own) if f'"{reason}"' not in text]

    assert unused == []


def test_every_reason_of_the_chassis_is_published() -> None:
    unknown = [
        f"{where}: {reason}"
        for reason, where in _raised(SOURCES / "chassis")
        if reason not in _published(common_reasons)
    ]

    assert unknown == []


def test_every_common_reason_is_given_somewhere() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))

    unused = [reason for reason in _published(common_reasons) if f'"{reason}"' not in text]

    assert unused == []
