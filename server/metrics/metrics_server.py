"""GET /metrics over HTTP, on a thread of its own, so that a busy server still tells how busy it is.

No more than `MAX_CONNECTIONS` at once, each for `LIMIT_S` in all and one answer, however slowly it reads or writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event, Thread

from lqhq.runtime.errors import OptionError
from lqhq.server.config.serve_config import join_address
from lqhq.server.metrics.exposition import CONTENT_TYPE

__all__ = ["MetricsServer"]

MAX_CONNECTIONS = 16
MAX_HEAD = 8192  # bytes of the request's line and headers
LIMIT_S = 5.0
BACKLOG = 16
WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class MetricsServer:
    """Tells `page()` to whoever asks. Without TLS or tokens: keep its port to yourself."""

    def __init__(self, page: Callable[[], bytes], host: str, port: int, *, limit_s: float = LIMIT_S) -> None:
        self._page, self._host, self._port, self._limit_s = page, host, port, limit_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._listening = Event()
        self._fault: OSError | UnicodeError | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._thread = Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> int:
        """Returns the port. Raises `OptionError` where it cannot be listened on."""
        self._thread.start()
        self._listening.wait()
        if self._fault is not None:
            self._thread.join()
            raise OptionError(
                "metrics_port",
                found=f"{join_address(self._host, self._port)}: {self._fault}",
                expected="an address and port that can be listened on",
                mend="Choose another, or none: --metrics-port off.",
            ) from self._fault
        return self._port

    def close(self) -> None:
        """Ends the connections that are open. Once."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            server = await asyncio.start_server(
                self._accept, self._host.strip("[]"), self._port, limit=MAX_HEAD, backlog=BACKLOG
            )
            self._port = server.sockets[0].getsockname()[1]
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
            self._fault = error
            return
        finally:
            self._listening.set()
        await self._stop.wait()
        server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._answer(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                writer.write(self._reply(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # gone, too slow, or no HTTP: nothing is owed
        finally:
            writer.transport.abort()

    def _reply(self, head: bytes) -> bytes:
        words = head.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _message(400, b"")
        if words[0] != b"GET":
            return _message(405, b"", "Allow: GET\r\n")
        if words[1].partition(b"?")[0] != b"/metrics":
            return _message(404, b"See /metrics\n")
        return _message(200, self._page())


def _message(code: int, body: bytes, headers: str = "") -> bytes:
    kind = CONTENT_TYPE if code == 200 else "text/plain; charset=utf-8"
    head = f"HTTP/1.1 {code} {WORDS[code]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{headers}Connection: close\r\n\r\n".encode() + body
