# ruff: noqa
# fmt: off
# mypy: disable-error-code="type-arg,misc"
import grpc
import grpc.aio
from collections.abc import AsyncIterator as _AsyncIterator
from typing import overload as _overload, type_check_only as _type_check_only
from lqhq.server.protos import inference_pb2 as _pb2

class GRPCInferenceServiceStub:
    @_overload
    def __new__(cls, channel: grpc.Channel) -> GRPCInferenceServiceStub: ...
    @_overload
    def __new__(cls, channel: grpc.aio.Channel) -> GRPCInferenceServiceAsyncStub: ...
    ServerLive: grpc.UnaryUnaryMultiCallable[_pb2.ServerLiveRequest, _pb2.ServerLiveResponse]
    ServerReady: grpc.UnaryUnaryMultiCallable[_pb2.ServerReadyRequest, _pb2.ServerReadyResponse]
    ModelReady: grpc.UnaryUnaryMultiCallable[_pb2.ModelReadyRequest, _pb2.ModelReadyResponse]
    ServerMetadata: grpc.UnaryUnaryMultiCallable[_pb2.ServerMetadataRequest, _pb2.ServerMetadataResponse]
    ModelMetadata: grpc.UnaryUnaryMultiCallable[_pb2.ModelMetadataRequest, _pb2.ModelMetadataResponse]
    ModelInfer: grpc.UnaryUnaryMultiCallable[_pb2.ModelInferRequest, _pb2.ModelInferResponse]
    ModelStreamInfer: grpc.StreamStreamMultiCallable[_pb2.ModelInferRequest, _pb2.ModelStreamInferResponse]
    ModelConfig: grpc.UnaryUnaryMultiCallable[_pb2.ModelConfigRequest, _pb2.ModelConfigResponse]
    ModelStatistics: grpc.UnaryUnaryMultiCallable[_pb2.ModelStatisticsRequest, _pb2.ModelStatisticsResponse]
    RepositoryIndex: grpc.UnaryUnaryMultiCallable[_pb2.RepositoryIndexRequest, _pb2.RepositoryIndexResponse]
    RepositoryModelLoad: grpc.UnaryUnaryMultiCallable[_pb2.RepositoryModelLoadRequest, _pb2.RepositoryModelLoadResponse]
    RepositoryModelUnload: grpc.UnaryUnaryMultiCallable[_pb2.RepositoryModelUnloadRequest, _pb2.RepositoryModelUnloadResponse]
    SystemSharedMemoryStatus: grpc.UnaryUnaryMultiCallable[_pb2.SystemSharedMemoryStatusRequest, _pb2.SystemSharedMemoryStatusResponse]
    SystemSharedMemoryRegister: grpc.UnaryUnaryMultiCallable[_pb2.SystemSharedMemoryRegisterRequest, _pb2.SystemSharedMemoryRegisterResponse]
    SystemSharedMemoryUnregister: grpc.UnaryUnaryMultiCallable[_pb2.SystemSharedMemoryUnregisterRequest, _pb2.SystemSharedMemoryUnregisterResponse]
    CudaSharedMemoryStatus: grpc.UnaryUnaryMultiCallable[_pb2.CudaSharedMemoryStatusRequest, _pb2.CudaSharedMemoryStatusResponse]
    CudaSharedMemoryRegister: grpc.UnaryUnaryMultiCallable[_pb2.CudaSharedMemoryRegisterRequest, _pb2.CudaSharedMemoryRegisterResponse]
    CudaSharedMemoryUnregister: grpc.UnaryUnaryMultiCallable[_pb2.CudaSharedMemoryUnregisterRequest, _pb2.CudaSharedMemoryUnregisterResponse]
    TraceSetting: grpc.UnaryUnaryMultiCallable[_pb2.TraceSettingRequest, _pb2.TraceSettingResponse]
    LogSettings: grpc.UnaryUnaryMultiCallable[_pb2.LogSettingsRequest, _pb2.LogSettingsResponse]

@_type_check_only
class GRPCInferenceServiceAsyncStub:
    ServerLive: grpc.aio.UnaryUnaryMultiCallable[_pb2.ServerLiveRequest, _pb2.ServerLiveResponse]
    ServerReady: grpc.aio.UnaryUnaryMultiCallable[_pb2.ServerReadyRequest, _pb2.ServerReadyResponse]
    ModelReady: grpc.aio.UnaryUnaryMultiCallable[_pb2.ModelReadyRequest, _pb2.ModelReadyResponse]
    ServerMetadata: grpc.aio.UnaryUnaryMultiCallable[_pb2.ServerMetadataRequest, _pb2.ServerMetadataResponse]
    ModelMetadata: grpc.aio.UnaryUnaryMultiCallable[_pb2.ModelMetadataRequest, _pb2.ModelMetadataResponse]
    ModelInfer: grpc.aio.UnaryUnaryMultiCallable[_pb2.ModelInferRequest, _pb2.ModelInferResponse]
    ModelStreamInfer: grpc.aio.StreamStreamMultiCallable[_pb2.ModelInferRequest, _pb2.ModelStreamInferResponse]
    ModelConfig: grpc.aio.UnaryUnaryMultiCallable[_pb2.ModelConfigRequest, _pb2.ModelConfigResponse]
    ModelStatistics: grpc.aio.UnaryUnaryMultiCallable[_pb2.ModelStatisticsRequest, _pb2.ModelStatisticsResponse]
    RepositoryIndex: grpc.aio.UnaryUnaryMultiCallable[_pb2.RepositoryIndexRequest, _pb2.RepositoryIndexResponse]
    RepositoryModelLoad: grpc.aio.UnaryUnaryMultiCallable[_pb2.RepositoryModelLoadRequest, _pb2.RepositoryModelLoadResponse]
    RepositoryModelUnload: grpc.aio.UnaryUnaryMultiCallable[_pb2.RepositoryModelUnloadRequest, _pb2.RepositoryModelUnloadResponse]
    SystemSharedMemoryStatus: grpc.aio.UnaryUnaryMultiCallable[_pb2.SystemSharedMemoryStatusRequest, _pb2.SystemSharedMemoryStatusResponse]
    SystemSharedMemoryRegister: grpc.aio.UnaryUnaryMultiCallable[_pb2.SystemSharedMemoryRegisterRequest, _pb2.SystemSharedMemoryRegisterResponse]
    SystemSharedMemoryUnregister: grpc.aio.UnaryUnaryMultiCallable[_pb2.SystemSharedMemoryUnregisterRequest, _pb2.SystemSharedMemoryUnregisterResponse]
    CudaSharedMemoryStatus: grpc.aio.UnaryUnaryMultiCallable[_pb2.CudaSharedMemoryStatusRequest, _pb2.CudaSharedMemoryStatusResponse]
    CudaSharedMemoryRegister: grpc.aio.UnaryUnaryMultiCallable[_pb2.CudaSharedMemoryRegisterRequest, _pb2.CudaSharedMemoryRegisterResponse]
    CudaSharedMemoryUnregister: grpc.aio.UnaryUnaryMultiCallable[_pb2.CudaSharedMemoryUnregisterRequest, _pb2.CudaSharedMemoryUnregisterResponse]
    TraceSetting: grpc.aio.UnaryUnaryMultiCallable[_pb2.TraceSettingRequest, _pb2.TraceSettingResponse]
    LogSettings: grpc.aio.UnaryUnaryMultiCallable[_pb2.LogSettingsRequest, _pb2.LogSettingsResponse]

class GRPCInferenceServiceServicer:
    async def ServerLive(self, request: _pb2.ServerLiveRequest, context: grpc.aio.ServicerContext[_pb2.ServerLiveRequest, _pb2.ServerLiveResponse]) -> _pb2.ServerLiveResponse: ...
    async def ServerReady(self, request: _pb2.ServerReadyRequest, context: grpc.aio.ServicerContext[_pb2.ServerReadyRequest, _pb2.ServerReadyResponse]) -> _pb2.ServerReadyResponse: ...
    async def ModelReady(self, request: _pb2.ModelReadyRequest, context: grpc.aio.ServicerContext[_pb2.ModelReadyRequest, _pb2.ModelReadyResponse]) -> _pb2.ModelReadyResponse: ...
    async def ServerMetadata(self, request: _pb2.ServerMetadataRequest, context: grpc.aio.ServicerContext[_pb2.ServerMetadataRequest, _pb2.ServerMetadataResponse]) -> _pb2.ServerMetadataResponse: ...
    async def ModelMetadata(self, request: _pb2.ModelMetadataRequest, context: grpc.aio.ServicerContext[_pb2.ModelMetadataRequest, _pb2.ModelMetadataResponse]) -> _pb2.ModelMetadataResponse: ...
    async def ModelInfer(self, request: _pb2.ModelInferRequest, context: grpc.aio.ServicerContext[_pb2.ModelInferRequest, _pb2.ModelInferResponse]) -> _pb2.ModelInferResponse: ...
    def ModelStreamInfer(self, request_iterator: _AsyncIterator[_pb2.ModelInferRequest], context: grpc.aio.ServicerContext[_pb2.ModelInferRequest, _pb2.ModelStreamInferResponse]) -> _AsyncIterator[_pb2.ModelStreamInferResponse]: ...
    async def ModelConfig(self, request: _pb2.ModelConfigRequest, context: grpc.aio.ServicerContext[_pb2.ModelConfigRequest, _pb2.ModelConfigResponse]) -> _pb2.ModelConfigResponse: ...
    async def ModelStatistics(self, request: _pb2.ModelStatisticsRequest, context: grpc.aio.ServicerContext[_pb2.ModelStatisticsRequest, _pb2.ModelStatisticsResponse]) -> _pb2.ModelStatisticsResponse: ...
    async def RepositoryIndex(self, request: _pb2.RepositoryIndexRequest, context: grpc.aio.ServicerContext[_pb2.RepositoryIndexRequest, _pb2.RepositoryIndexResponse]) -> _pb2.RepositoryIndexResponse: ...
    async def RepositoryModelLoad(self, request: _pb2.RepositoryModelLoadRequest, context: grpc.aio.ServicerContext[_pb2.RepositoryModelLoadRequest, _pb2.RepositoryModelLoadResponse]) -> _pb2.RepositoryModelLoadResponse: ...
    async def RepositoryModelUnload(self, request: _pb2.RepositoryModelUnloadRequest, context: grpc.aio.ServicerContext[_pb2.RepositoryModelUnloadRequest, _pb2.RepositoryModelUnloadResponse]) -> _pb2.RepositoryModelUnloadResponse: ...
    async def SystemSharedMemoryStatus(self, request: _pb2.SystemSharedMemoryStatusRequest, context: grpc.aio.ServicerContext[_pb2.SystemSharedMemoryStatusRequest, _pb2.SystemSharedMemoryStatusResponse]) -> _pb2.SystemSharedMemoryStatusResponse: ...
    async def SystemSharedMemoryRegister(self, request: _pb2.SystemSharedMemoryRegisterRequest, context: grpc.aio.ServicerContext[_pb2.SystemSharedMemoryRegisterRequest, _pb2.SystemSharedMemoryRegisterResponse]) -> _pb2.SystemSharedMemoryRegisterResponse: ...
    async def SystemSharedMemoryUnregister(self, request: _pb2.SystemSharedMemoryUnregisterRequest, context: grpc.aio.ServicerContext[_pb2.SystemSharedMemoryUnregisterRequest, _pb2.SystemSharedMemoryUnregisterResponse]) -> _pb2.SystemSharedMemoryUnregisterResponse: ...
    async def CudaSharedMemoryStatus(self, request: _pb2.CudaSharedMemoryStatusRequest, context: grpc.aio.ServicerContext[_pb2.CudaSharedMemoryStatusRequest, _pb2.CudaSharedMemoryStatusResponse]) -> _pb2.CudaSharedMemoryStatusResponse: ...
    async def CudaSharedMemoryRegister(self, request: _pb2.CudaSharedMemoryRegisterRequest, context: grpc.aio.ServicerContext[_pb2.CudaSharedMemoryRegisterRequest, _pb2.CudaSharedMemoryRegisterResponse]) -> _pb2.CudaSharedMemoryRegisterResponse: ...
    async def CudaSharedMemoryUnregister(self, request: _pb2.CudaSharedMemoryUnregisterRequest, context: grpc.aio.ServicerContext[_pb2.CudaSharedMemoryUnregisterRequest, _pb2.CudaSharedMemoryUnregisterResponse]) -> _pb2.CudaSharedMemoryUnregisterResponse: ...
    async def TraceSetting(self, request: _pb2.TraceSettingRequest, context: grpc.aio.ServicerContext[_pb2.TraceSettingRequest, _pb2.TraceSettingResponse]) -> _pb2.TraceSettingResponse: ...
    async def LogSettings(self, request: _pb2.LogSettingsRequest, context: grpc.aio.ServicerContext[_pb2.LogSettingsRequest, _pb2.LogSettingsResponse]) -> _pb2.LogSettingsResponse: ...

def add_GRPCInferenceServiceServicer_to_server(servicer: GRPCInferenceServiceServicer, server: grpc.aio.Server) -> None: ...
