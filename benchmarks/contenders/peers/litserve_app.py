"""LitServe's API class (lightning.ai/docs/litserve): pixels as an uploaded file, or as base64 in JSON.

    python litserve_app.py PORT FORM BUNDLE SIDE THREADS WORKERS     FORM: upload, json

Its guide sends images as base64 in JSON; an upload saves the text. The reply is bytes in both.
"""

import base64
import sys

import litserve
from fastapi import Response
from plain_restorer import PlainRestorer  # from this folder

__all__ = ["JsonApi", "UploadApi"]


class UploadApi(litserve.LitAPI):
    """A multipart form with the file `image`: the pixels in C order.

    LitServe reads how a request comes from the annotations of `decode_request` and `encode_response`; without any it
    takes forms and JSON, and a `Response` as it is.
    """

    def __init__(self, bundle: str, side: int, threads: int) -> None:
        super().__init__()
        self._given = (bundle, side, threads)

    def setup(self, device: str) -> None:
        self._restorer = PlainRestorer(*self._given)

    def decode_request(self, request):
        return request["image"].file.read()

    def predict(self, x: bytes) -> bytes:
        return self._restorer.restore_bytes(x)

    def encode_response(self, output):
        return Response(content=output, media_type="application/octet-stream")


class JsonApi(UploadApi):
    """`{"image": base64}`."""

    def decode_request(self, request):
        return base64.b64decode(request["image"])


def main(port: str, form: str, bundle: str, side: str, threads: str, workers: str) -> None:
    kind = {"upload": UploadApi, "json": JsonApi}[form]
    api = kind(bundle, int(side), int(threads))
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=int(workers), timeout=False)
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
