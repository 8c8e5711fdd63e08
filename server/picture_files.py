"""What the services do with whole files and must not do on the event loop: digests, and tiles into files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from numpy.typing import NDArray

from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import encode_image
from lqhq.server.v2.options import Format

__all__ = ["PictureFiles"]

SMALL = 1 << 16  # bytes that are hashed sooner than another thread is woken
QUICK = 4 << 20  # bytes that are encoded in some ten milliseconds
KINDS = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "tiff": "TIFF"}

R = TypeVar("R")


class PictureFiles:
    """Works in two pools, which are bounded: what is small goes to `quick`, and does not wait behind the rest."""

    def __init__(self, quick: Executor, slow: Executor) -> None:
        self._quick, self._slow = quick, slow

    async def run(self, call: Callable[[], R], size: int) -> R:
        """`call()`, which is about `size` bytes. A caller that is cancelled leaves it to end by itself."""
        pool = self._quick if size <= QUICK else self._slow
        return await asyncio.get_running_loop().run_in_executor(pool, call)

    async def sha256(self, data: bytes) -> str:
        """64 lower-case hexadecimal digits."""
        if len(data) <= SMALL:
            return hashlib.sha256(data).hexdigest()
        return await self.run(lambda: hashlib.sha256(data).hexdigest(), len(data))

    async def encoded(self, pixels: NDArray[Any], form: Format, *, quality: int = 95) -> bytes:
        """`pixels` `[H, W, C]` uint8 or uint16 as a file. Raises what `encode_image` does."""
        kind: Any = KINDS[form]
        return await self.run(lambda: encode_image(kind, ImageFile(pixels=pixels), quality=quality), pixels.nbytes)
