"""Reflection: which services there are and what their messages are, for `grpcurl` and its like.

Our messages live in a pool of their own (`server/protos/pool.py`), those of the standard services in protobuf's
default one. Callers are shown one pool, which holds copies of both.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from lqhq.server.protos import inference_pb2, lqhq_v1_pb2

__all__ = ["method_names", "reflection_service", "service_names"]

FILES = (inference_pb2.DESCRIPTOR, lqhq_v1_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)


def service_names() -> tuple[str, ...]:
    """All services of the server, in full."""
    return tuple(sorted(service.full_name for file in FILES for service in file.services_by_name.values()))


def method_names() -> frozenset[str]:
    """All methods of the server, as calls name them: `/package.Service/Method`."""
    services = [service for file in FILES for service in file.services_by_name.values()]
    return frozenset(f"/{service.full_name}/{method.name}" for service in services for method in service.methods)


def reflection_service() -> Any:
    """A servicer for `reflection_pb2_grpc.add_ServerReflectionServicer_to_server`."""
    pool, added = DescriptorPool(), set[str]()
    for file in FILES:
        _copy(file, pool, added)
    return reflection.aio.ReflectionServicer(service_names(), pool=_Pool(pool))


class _Pool:
    """What the servicer asks of a pool, which upb's cannot all do: to find a method by its full name."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool
        self.FindFileByName = pool.FindFileByName
        self.FindMessageTypeByName = pool.FindMessageTypeByName
        self.FindExtensionByNumber = pool.FindExtensionByNumber
        self.FindAllExtensions = pool.FindAllExtensions

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802
        """Raises `KeyError`."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            return found.methods_by_name[method].containing_service.file


def _copy(file: Any, pool: DescriptorPool, added: set[str]) -> None:
    """What a file imports comes before it."""
    if file.name not in added:
        added.add(file.name)
        for needed in file.dependencies:
            _copy(needed, pool, added)
        pool.AddSerializedFile(file.serialized_pb)
