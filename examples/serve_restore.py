"""Have a server restore images: lqhq's own client, which any machine with `lqhq[serve]` has.

    lqhq serve demo                                       # in another terminal
    python examples/serve_restore.py [HOST:PORT [IMAGE]]

`Client` waits; `AsyncClient` has the same methods for `await`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np

from lqhq.runtime import LqhqError
from lqhq.server.client import AsyncClient, Client

PHOTO = Path(__file__).with_name("photo.png")


def progress(done: int, total: int, left_s: float) -> None:
    """Called while the server works; `left_s` is its own estimate, 0 where it has none yet."""
    print(f"  {done} of {total} network calls")


async def several(address: str, count: int) -> None:
    """Images that travel together share the server's batches."""
    grey = [np.full((24, 32, 1), 40 * number, np.uint8) for number in range(count)]
    async with AsyncClient(address) as client:
        results = await asyncio.gather(*(client.restore(image) for image in grey))
    print("at once:", [result.to_array().shape for result in results])


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001"
    image = sys.argv[2] if len(sys.argv) > 2 else PHOTO
    with Client(address) as client:
        status = client.status()
        print(f"{status.name} {status.version} is", "ready" if status.ready else "not ready")
        for model in client.models():
            print(f"model {model.name} {model.version}: {model.task}, x{model.scale}")

        # A path, a file's bytes or an array goes in; a file comes back, here as JPEG.
        result = client.restore(image, output="jpeg", quality=90, seed=0, progress=progress, timeout_s=120)
        done = result.outcome
        print(f"{done.shape.width}x{done.shape.height}, {len(result.image)} bytes, {done.works} network calls")
        # result.save("photo_x4.jpg") writes it whole or not at all

        try:
            client.restore(image, schedule="no-such-schedule")
        except LqhqError as error:
            print("an error says what to do:", error)
    asyncio.run(several(address, 4))


if __name__ == "__main__":
    main()
