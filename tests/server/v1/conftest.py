"""A stub of lqhq.v1, and uploads as clients should send them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.protos.lqhq_v1_pb2_grpc import RestorationStub


@pytest.fixture(scope="module")
def stub(served: Any) -> Iterator[RestorationStub]:
    with grpc.insecure_channel(served.address, [("grpc.max_receive_message_length", -1)]) as channel:
        yield RestorationStub(channel)


def upload_of(image: bytes, mask: bytes = b"", *, chunk: int = 100, **header: Any) -> list[pb.RestoreUpload]:
    sizes = {"image_bytes": len(image), "mask_bytes": len(mask)}
    messages = [pb.RestoreUpload(header=pb.UploadHeader(**(sizes | header)))]
    for part, data in ((pb.PART_IMAGE, image), (pb.PART_MASK, mask)):
        messages += [
            pb.RestoreUpload(chunk=pb.Chunk(offset=at, data=data[at : at + chunk], part=part))
            for at in range(0, len(data), chunk)
        ]
    digests = {"image_sha256": hashlib.sha256(image).hexdigest()}
    if mask:
        digests["mask_sha256"] = hashlib.sha256(mask).hexdigest()
    return [*messages, pb.RestoreUpload(end=pb.UploadEnd(**digests))]


@pytest.fixture
def upload() -> Callable[..., list[pb.RestoreUpload]]:
    """`upload(image, mask=b"", chunk=100, **fields of the header)`: all messages of a right upload."""
    return upload_of
