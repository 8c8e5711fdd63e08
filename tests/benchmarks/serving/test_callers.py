"""Messages say what they should; connections carry them as they are."""

from __future__ import annotations

import base64
import email
import http.server
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from measuring.scene import scene
from serving import callers

from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import encode_image
from lqhq.server.protos import lqhq_v1_pb2 as v1
from lqhq.server.protos.inference_pb2 import ModelInferRequest, ModelInferResponse
from lqhq.server.v2.tensors import read_tensors

IMAGE = scene(6, 9)


class _Echo(grpc.GenericRpcHandler):
    """Answers every method with its own message, and the name of the method before it."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def reply(request: bytes, context: grpc.ServicerContext) -> bytes:
            return details.method.encode() + request

        return grpc.unary_unary_rpc_method_handler(reply)


@pytest.fixture
def echo() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((_Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_grpc_messages_pass_as_they_are(echo: str) -> None:
    caller = callers.GrpcCaller(echo, callers.INFER, [b"zero", b"one"])
    assert caller.call(1) == callers.INFER.encode() + b"one"
    assert caller.call(0) == callers.INFER.encode() + b"zero"
    caller.close()


class _Form(http.server.BaseHTTPRequestHandler):
    """Answers a form with its file's bytes, and anything else with 415."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + body).get_payload()
        found = parts[0].get_payload(decode=True) if isinstance(parts, list) else b"no form"
        self.send_response(200 if isinstance(parts, list) else 415)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Form) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_an_upload_is_read_as_a_form(http_port: int) -> None:
    kind = f"multipart/form-data; boundary={callers.BOUNDARY}"
    requests = [callers.form_request(b"pixels\r\n\x00"), callers.form_request(b"more")]
    caller = callers.HttpCaller(http_port, "/predict", kind, requests)
    assert [caller.call(0), caller.call(1)] == [b"pixels\r\n\x00", b"more"]
    caller.close()


def test_a_status_that_is_not_ok_is_an_error(http_port: int) -> None:
    caller = callers.HttpCaller(http_port, "/predict", "application/json", [b"{}"])
    with pytest.raises(OSError, match=r"status 415: b'no form'"):
        caller.call(0)
    caller.close()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_tensor_request_is_what_the_server_reads(dtype: str) -> None:
    image = IMAGE.astype(dtype)
    request = ModelInferRequest.FromString(callers.tensor_request("m", image, seed=3, progress=True, blend="each"))
    tensors = read_tensors(request)
    assert np.array_equal(tensors["image"].array, image)
    assert request.model_name == "m"
    assert request.parameters["seed"].int64_param == 3
    assert request.parameters["progress"].bool_param
    assert request.parameters["blend"].string_param == "each"


def test_bytes_and_json_hold_the_pixels() -> None:
    request = ModelInferRequest.FromString(callers.bytes_request("m", b"abc"))
    assert (request.inputs[0].datatype, list(request.inputs[0].shape)) == ("BYTES", [1])
    assert request.raw_input_contents[0] == b"\x03\x00\x00\x00abc"
    assert base64.b64decode(json.loads(callers.json_request(b"abc"))["image"]) == b"abc"


def test_answers_are_taken_out() -> None:
    reply = ModelInferResponse(raw_output_contents=[b"\x03\x00\x00\x00abc"])
    reply.outputs.add(datatype="BYTES", shape=[1])
    assert callers.pixels_of(reply.SerializeToString()) == b"abc"
    reply.outputs[0].datatype = "UINT8"
    assert callers.pixels_of(reply.SerializeToString()) == b"\x03\x00\x00\x00abc"
    file = encode_image("PNG", ImageFile(pixels=IMAGE))
    asked = v1.RestoreRequest.FromString(callers.restore_request("m", file))
    assert (asked.image, asked.ask.model.name) == (file, "m")
    assert callers.file_of(v1.RestoreResponse(image=file).SerializeToString()) == file
