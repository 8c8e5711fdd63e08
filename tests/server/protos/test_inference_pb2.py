"""Our V2 messages are the stock client's: every name, number and type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FileDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2

from lqhq.server.protos.inference_pb2 import DESCRIPTOR

THEIRS: tuple[FileDescriptor, ...] = (service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR)
# Triton's settings that mean nothing here; their numbers are reserved, so that none is given out by mistake.
PARTIAL = {
    "inference.ModelConfig",
    "inference.ModelInput",
    "inference.ModelOutput",
    "inference.ModelInstanceGroup",
}
Shape = tuple[int, int, bool, str, str]


def messages(file: FileDescriptor) -> Iterator[Descriptor]:
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        yield message
        waiting += message.nested_types


def shapes(message: Descriptor) -> dict[str, Shape]:
    """Field name -> number, type, whether repeated, what it is made of, its oneof."""
    found = {}
    for field in message.fields:
        made_of: Any = field.message_type or field.enum_type
        oneof = field.containing_oneof
        found[field.name] = (
            field.number,
            field.type,
            bool(field.is_repeated),
            made_of.full_name if made_of else "",
            oneof.name if oneof else "",
        )
    return found


def differences(ours: FileDescriptor, theirs: tuple[FileDescriptor, ...]) -> list[str]:
    """Every message or field of ours that is not theirs, and every field of theirs that ours lacks."""
    known = {message.full_name: shapes(message) for file in theirs for message in messages(file)}
    found = []
    for message in messages(ours):
        mine, stock = shapes(message), known.get(message.full_name, {})
        found += [f"{message.full_name}.{name}" for name in mine if mine[name] != stock.get(name)]
        if message.full_name not in PARTIAL:
            found += [f"{message.full_name}.{name}" for name in stock if name not in mine]
    return found


def test_every_message_is_the_clients() -> None:
    assert differences(DESCRIPTOR, THEIRS) == []


def test_planted_other_protocol_is_seen() -> None:
    assert "inference.ModelConfig.backend" in differences(DESCRIPTOR, (service_pb2.DESCRIPTOR,))


def test_enums_are_the_clients() -> None:
    stock = {enum.full_name: enum.values_by_name for file in THEIRS for enum in file.enum_types_by_name.values()}
    nested = {
        enum.full_name: enum.values_by_name for file in THEIRS for one in messages(file) for enum in one.enum_types
    }
    ours = [*DESCRIPTOR.enum_types_by_name.values(), *(enum for one in messages(DESCRIPTOR) for enum in one.enum_types)]
    assert len(ours) == 4
    for enum in ours:
        known = (stock | nested)[enum.full_name]
        assert {name: one.number for name, one in enum.values_by_name.items()} == {
            name: one.number for name, one in known.items()
        }


def test_every_call_of_the_client_has_its_method() -> None:
    name = "GRPCInferenceService"
    theirs, ours = service_pb2.DESCRIPTOR.services_by_name[name], DESCRIPTOR.services_by_name[name]

    def calls(service: Any) -> dict[str, tuple[str, str, bool, bool]]:
        return {
            method.name: (
                method.input_type.full_name,
                method.output_type.full_name,
                method.client_streaming,
                method.server_streaming,
            )
            for method in service.methods
        }

    assert ours.full_name == theirs.full_name == "inference.GRPCInferenceService"
    assert calls(ours) == calls(theirs)
