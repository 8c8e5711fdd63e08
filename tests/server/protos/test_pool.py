"""Server and stock client live in one process, whichever comes first."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS = "from lqhq.server.protos import inference_pb2, inference_pb2_grpc, lqhq_v1_pb2_grpc"
THEIRS = "import tritonclient.grpc, tritonclient.grpc.aio"
EXCHANGE = """
from lqhq.server.protos import inference_pb2 as ours
from tritonclient.grpc import service_pb2 as theirs
sent = theirs.ModelInferRequest(model_name="m", id="7", raw_input_contents=[b"abc"])
sent.parameters["seed"].int64_param = 3
got = ours.ModelInferRequest.FromString(sent.SerializeToString())
assert got.parameters["seed"].int64_param == 3 and got.raw_input_contents[0] == b"abc"
assert not isinstance(got, theirs.ModelInferRequest)
"""
# What protobuf does with a second file that holds our names: the fault that the pool is there for.
CLASH = """
from google.protobuf import descriptor_pool
from lqhq.server.protos import inference_pb2
import tritonclient.grpc
descriptor_pool.Default().AddSerializedFile(inference_pb2.DESCRIPTOR.serialized_pb)
"""


def run(*statements: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(statements)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("order", [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours first", "theirs first"])
def test_both_import_in_any_order(order: tuple[str, str]) -> None:
    ran = run(*order, EXCHANGE)
    assert ran.returncode == 0, ran.stderr


def test_planted_clash_is_what_it_would_be_without_the_pool() -> None:
    ran = run(CLASH)
    assert ran.returncode == 1
    assert "TypeError" in ran.stderr
    assert "duplicate symbol" in ran.stderr
