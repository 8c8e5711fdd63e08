"""One bundle in NumPy and ONNX Runtime, as a user of another server writes it: one size of image, no tiles.

Only NumPy and ONNX Runtime are imported, since this runs in the peers' own environments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["PlainRestorer", "cubic_matrix"]


def cubic_matrix(length: int, factor: int) -> Any:
    """`[length * factor, length]` float32: Keys' cubic convolution (1981, a = -0.5) as Pillow enlarges.

    Taps outside the image are dropped, and the rest sum to one. Two products with it enlarge an image.
    """
    at = (np.arange(length * factor) + 0.5) / factor - 0.5
    x = np.abs(at[:, None] - np.arange(length))
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    matrix: Any = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return matrix


class PlainRestorer:
    """The `denoise` graph of the bundle in folder `bundle`, for images of `side` x `side`."""

    def __init__(self, bundle: str, side: int, threads: int) -> None:
        folder = Path(bundle)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = False  # faster here: results/session_options.md
        graph = folder / manifest["graphs"]["denoise"]["fp32"]["file"]
        self._session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._factor = next((step["factor"] for step in manifest["prepare"] if step["op"] == "resize"), 1)
        self._matrix = cubic_matrix(side, self._factor) if self._factor > 1 else None
        self._side = side
        self._t = np.ones(1, np.float32)

    def restore(self, pixels: Any) -> Any:
        """`[side, side, 3]` uint8 to the same, enlarged as the bundle says: one step from t = 1, clipped, rounded."""
        x = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
        x *= np.float32(2 / 255)
        x -= 1
        if self._matrix is not None:
            x = self._matrix @ x @ self._matrix.T
        y = self._session.run(["pred"], {"state": x[None], "t": self._t})[0][0]
        np.clip(y, -1, 1, out=y)
        y += 1
        y *= 127.5
        np.rint(y, out=y)
        return np.ascontiguousarray(y.astype(np.uint8).transpose(1, 2, 0))

    def restore_bytes(self, data: bytes) -> bytes:
        """The same from and to bytes in C order."""
        image = np.frombuffer(data, np.uint8).reshape(self._side, self._side, 3)
        result: bytes = self.restore(image).tobytes()
        return result
