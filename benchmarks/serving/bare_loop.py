"""The same restoration in a loop in one process, without a server: what there is to lose.

    python -m serving.bare_loop BUNDLE THREADS FORM SIDE...     FORM: pixels, files

Orders come as one JSON list of indices of SIDE a line; seconds of each go back. With files the image is decoded from
PNG and the result encoded to PNG, both inside of what is timed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from measuring.scene import scene

from lqhq.runtime import Restorer
from lqhq.runtime.image_file import ImageFile, read_image_bytes
from lqhq.runtime.image_write import encode_image
from serving.load import Sample

__all__ = ["BareLoop", "encoded_scene"]

MAX_PIXELS = 1 << 26


def encoded_scene(side: int) -> bytes:
    """The test image as a PNG file."""
    return encode_image("PNG", ImageFile(pixels=scene(side, side)))


class BareLoop:
    """The parent's side: a child that stays loaded and warm between its turns."""

    def __init__(self, bundle: str, threads: int, form: str, sides: Sequence[int]) -> None:
        folder = Path(__file__).resolve().parents[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "serving.bare_loop", bundle, str(threads), form, *map(str, sides)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        try:
            self.run([0])
        except ChildProcessError:
            self._end()
            raise

    def run(self, order: Sequence[int]) -> Sample:
        """Restore image after image. Raises `ChildProcessError` where the child has ended; its words went to stderr."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, which the next line says
            print(json.dumps(list(order)), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the bare loop ended with code {self._process.wait()}")
        latencies: list[float] = json.loads(line)
        return Sample(latencies=latencies, seconds=sum(latencies))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()


def _restorations(restorer: Restorer, form: str, sides: Sequence[int]) -> list[Callable[[], Any]]:
    def through_files(data: bytes) -> bytes:
        image = read_image_bytes(data, name="image", max_pixels=MAX_PIXELS)
        return encode_image("PNG", ImageFile(pixels=restorer.restore(image.pixels)))

    if form == "pixels":
        return [partial(restorer.restore, scene(side, side)) for side in sides]
    return [partial(through_files, encoded_scene(side)) for side in sides]


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main(bundle: str, threads: str, form: str, *sides: str) -> None:
    with Restorer.open(bundle, threads=int(threads)) as restorer:
        runs = _restorations(restorer, form, [int(side) for side in sides])
        for line in sys.stdin:
            print(json.dumps([_timed(runs[index]) for index in json.loads(line)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
