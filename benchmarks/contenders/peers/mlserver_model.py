"""MLServer's custom runtimes (docs.seldon.ai/mlserver/user-guide/custom): pixels as BYTES, or as a UINT8 tensor.

MLServer unpacks a numeric tensor into a Python list, value by value; BYTES stay as they are. So BYTES is the tuned
form, and the tensor is what its guide shows first.
"""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput, TensorData
from plain_restorer import PlainRestorer  # its folder is in PYTHONPATH

__all__ = ["BytesModel", "TensorModel"]


class BytesModel(MLModel):
    """Input and output `image`: BYTES `[1]`, the pixels in C order."""

    async def load(self) -> bool:
        extra = self.settings.parameters.extra
        self._restorer = PlainRestorer(extra["bundle"], extra["side"], extra["threads"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = payload.inputs[0].data
        [pixels] = getattr(data, "root", data)
        return self._reply(
            ResponseOutput(
                name="image", shape=[1], datatype="BYTES", data=TensorData([self._restorer.restore_bytes(pixels)])
            )
        )

    def _reply(self, output: ResponseOutput) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, outputs=[output])


class TensorModel(BytesModel):
    """Input and output `image`: UINT8 `[H, W, 3]`, by MLServer's own codec for NumPy."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        pixels = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        return self._reply(NumpyCodec.encode_output("image", self._restorer.restore(pixels)))
