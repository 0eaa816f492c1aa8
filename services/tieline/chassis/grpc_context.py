"""The type of the ``context`` that gRPC hands to a servicer's methods."""

from typing import Any, TypeAlias

import grpc.aio

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
