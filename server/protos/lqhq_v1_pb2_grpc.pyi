# ruff: noqa
# fmt: off
# mypy: disable-error-code="type-arg,misc"
import grpc
import grpc.aio
from collections.abc import AsyncIterator as _AsyncIterator
from typing import overload as _overload, type_check_only as _type_check_only
from lqhq.server.protos import lqhq_v1_pb2 as _pb2

class RestorationStub:
    @_overload
    def __new__(cls, channel: grpc.Channel) -> RestorationStub: ...
    @_overload
    def __new__(cls, channel: grpc.aio.Channel) -> RestorationAsyncStub: ...
    Restore: grpc.UnaryUnaryMultiCallable[_pb2.RestoreRequest, _pb2.RestoreResponse]
    RestoreStream: grpc.StreamStreamMultiCallable[_pb2.RestoreUpload, _pb2.RestoreEvent]
    ListModels: grpc.UnaryUnaryMultiCallable[_pb2.ListModelsRequest, _pb2.ListModelsResponse]
    DescribeModel: grpc.UnaryUnaryMultiCallable[_pb2.DescribeModelRequest, _pb2.DescribeModelResponse]

@_type_check_only
class RestorationAsyncStub:
    Restore: grpc.aio.UnaryUnaryMultiCallable[_pb2.RestoreRequest, _pb2.RestoreResponse]
    RestoreStream: grpc.aio.StreamStreamMultiCallable[_pb2.RestoreUpload, _pb2.RestoreEvent]
    ListModels: grpc.aio.UnaryUnaryMultiCallable[_pb2.ListModelsRequest, _pb2.ListModelsResponse]
    DescribeModel: grpc.aio.UnaryUnaryMultiCallable[_pb2.DescribeModelRequest, _pb2.DescribeModelResponse]

class RestorationServicer:
    async def Restore(self, request: _pb2.RestoreRequest, context: grpc.aio.ServicerContext[_pb2.RestoreRequest, _pb2.RestoreResponse]) -> _pb2.RestoreResponse: ...
    def RestoreStream(self, request_iterator: _AsyncIterator[_pb2.RestoreUpload], context: grpc.aio.ServicerContext[_pb2.RestoreUpload, _pb2.RestoreEvent]) -> _AsyncIterator[_pb2.RestoreEvent]: ...
    async def ListModels(self, request: _pb2.ListModelsRequest, context: grpc.aio.ServicerContext[_pb2.ListModelsRequest, _pb2.ListModelsResponse]) -> _pb2.ListModelsResponse: ...
    async def DescribeModel(self, request: _pb2.DescribeModelRequest, context: grpc.aio.ServicerContext[_pb2.DescribeModelRequest, _pb2.DescribeModelResponse]) -> _pb2.DescribeModelResponse: ...

def add_RestorationServicer_to_server(servicer: RestorationServicer, server: grpc.aio.Server) -> None: ...
