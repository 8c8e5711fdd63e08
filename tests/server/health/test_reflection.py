"""Reflection lists every service, and finds the messages of all of them, ours in their own pool included."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha import reflection_pb2_grpc

from lqhq.server.health.board import HealthBoard
from lqhq.server.health.reflection import service_names

ALL = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "lqhq.v1.Restoration",
)


def answers(served: Any, *requests: Any) -> list[Any]:
    async def talk() -> list[Any]:
        async with served(HealthBoard()) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            return [answer async for answer in stub.ServerReflectionInfo(iter(requests), timeout=20)]

    return asyncio.run(talk())


def test_every_service_is_listed(served: Any) -> None:
    (answer,) = answers(served, pb.ServerReflectionRequest(list_services=""))
    assert tuple(service.name for service in answer.list_services_response.service) == ALL == service_names()


def test_every_service_can_be_rebuilt_from_the_answers(served: Any) -> None:
    """As `grpcurl` does: ask for a service, and build it from the files that come."""
    told = answers(served, *(pb.ServerReflectionRequest(file_containing_symbol=name) for name in ALL))
    for name, answer in zip(ALL, told, strict=True):
        pool = DescriptorPool()
        files = [FileDescriptorProto.FromString(data) for data in answer.file_descriptor_response.file_descriptor_proto]
        waiting = {file.name: file for file in files}
        while waiting:  # a file after those that it imports
            ready = [file for file in waiting.values() if not set(file.dependency) & set(waiting)]
            for file in ready:
                pool.Add(waiting.pop(file.name))  # type: ignore[no-untyped-call]
        service = pool.FindServiceByName(name)
        assert [method.input_type.full_name for method in service.methods]


@pytest.mark.parametrize(
    "request_",
    [
        pb.ServerReflectionRequest(file_containing_symbol="lqhq.v1.None"),
        pb.ServerReflectionRequest(file_by_filename="../../etc/passwd"),
        pb.ServerReflectionRequest(all_extension_numbers_of_type="inference.None"),
        pb.ServerReflectionRequest(),
    ],
    ids=["symbol", "file", "type", "nothing"],
)
def test_what_is_not_there(served: Any, request_: Any) -> None:
    good = pb.ServerReflectionRequest(file_containing_symbol="lqhq.v1.Restoration.Restore")
    missing, found = answers(served, request_, good)
    assert missing.HasField("error_response")
    assert found.HasField("file_descriptor_response")
