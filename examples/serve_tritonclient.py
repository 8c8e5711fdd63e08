"""Have a server restore images with NVIDIA's stock client of the V2 protocol; nothing of lqhq is needed here.

pip install 'tritonclient[grpc]'
lqhq serve demo                                            # in another terminal
python examples/serve_tritonclient.py [HOST:PORT [IMAGE]]
"""

from __future__ import annotations

import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton

PHOTO = Path(__file__).with_name("photo.png")


def pixels(array: np.ndarray) -> triton.InferInput:
    """An image `[H, W, C]` of uint8 as the input `image`."""
    tensor = triton.InferInput("image", list(array.shape), "UINT8")
    tensor.set_data_from_numpy(array)
    return tensor


def file(data: bytes) -> triton.InferInput:
    """A PNG, JPEG, WebP or TIFF file as the same input."""
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([data], object))
    return tensor


def streamed(client: triton.InferenceServerClient, model: str, image: triton.InferInput) -> np.ndarray:
    """One request on a stream: replies say how far the work is, and the last one has the result."""
    replies: queue.Queue[tuple[Any, Exception | None]] = queue.Queue()
    client.start_stream(lambda result, error: replies.put((result, error)))
    try:
        client.async_stream_infer(model, [image], request_id="one", parameters={"progress": True})
        while True:
            result, error = replies.get(timeout=120)
            if error is not None:
                raise error
            told = result.get_response().parameters
            if told["triton_final_response"].bool_param:
                restored: np.ndarray = result.as_numpy("image")
                return restored
            print(f"  {told['done'].int64_param} of {told['total'].int64_param} network calls")
    finally:
        client.stop_stream()


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001"
    data = (Path(sys.argv[2]) if len(sys.argv) > 2 else PHOTO).read_bytes()
    with triton.InferenceServerClient(address) as client:
        model = client.get_model_repository_index().models[0].name
        print("model:", model, "is", "ready" if client.is_model_ready(model) else "not ready")

        lq = np.zeros((24, 32, 3), np.uint8)
        hq = client.infer(model, [pixels(lq)], parameters={"seed": 0}).as_numpy("image")
        print(f"array {lq.shape} {lq.dtype} -> {hq.shape} {hq.dtype}")

        png = client.infer(model, [file(data)]).as_numpy("image")[0]
        print(f"file of {len(data)} bytes -> {png[1:4].decode()} of {len(png)} bytes")

        hq = streamed(client, model, file(data))
        print("streamed:", len(hq[0]), "bytes")

        try:
            client.infer(model, [pixels(lq)], parameters={"tile": 3})
        except triton.InferenceServerException as error:
            print("an error says what to do:", error.status(), error.message())


if __name__ == "__main__":
    main()
