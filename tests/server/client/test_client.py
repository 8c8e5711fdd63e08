"""`Client` against a server on a real socket: both ways of asking, tries, deadlines, lies and Ctrl-C."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from lqhq.runtime.errors import CancelledError, ImageError, LimitError, OptionError
from lqhq.runtime.geometry import Box
from lqhq.server.client import AccessError, Client, Retry, ServerError, TransferError, UnreachableError
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v2.errors import (
    DeadlineError,
    OverloadError,
    RequestError,
    UnavailableError,
    UnknownModelError,
    UnsupportedError,
)

SMALL = b"a small file"
LARGE = bytes(range(256)) * 5000  # 1.28 MB: two chunks
QUICK = Retry(tries=3, first_s=0.01, longest_s=0.02)
Code = grpc.StatusCode


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, retry=QUICK) as one:
        yield one


def test_a_small_file_is_one_message_each_way(client: Client, fake: Any) -> None:
    result = client.restore(SMALL, seed=5, model="fake", output="tiff", priority=2)
    assert result.image == SMALL[::-1]
    assert (result.outcome.model, result.outcome.seed) == ("fake", 7)
    assert not fake.uploads
    ask = fake.requests[0].ask
    assert (ask.options.seed, ask.model.name, ask.output.format, ask.priority) == (5, "fake", pb.IMAGE_FORMAT_TIFF, 2)


def test_a_large_one_goes_in_chunks_with_its_digest(client: Client, fake: Any) -> None:
    result = client.restore(LARGE, mask=SMALL)
    assert result.image == LARGE[::-1]
    assert not fake.requests
    first, *chunks, last = fake.uploads[0]
    assert (first.header.image_bytes, first.header.mask_bytes) == (len(LARGE), len(SMALL))
    assert (first.header.progress, first.header.tiles) == (False, False)
    assert [(one.chunk.part, one.chunk.offset) for one in chunks] == [(1, 0), (1, 1 << 20), (2, 0)]
    assert last.end.image_sha256 == hashlib.sha256(LARGE).hexdigest()
    assert last.end.mask_sha256 == hashlib.sha256(SMALL).hexdigest()


def test_who_listens_gets_a_stream(client: Client, fake: Any) -> None:
    heard: list[Any] = []
    result = client.restore(
        SMALL, progress=lambda *told: heard.append(told), tiles=lambda box, png: heard.append((box, png))
    )
    assert result.image == SMALL[::-1]
    assert heard == [(0, 2, 2.0), (1, 2, 1.0), (2, 2, 0.0), (Box(1, 2, 3, 4), b"PNG")]
    assert fake.uploads[0][0].header.progress


TOO_LARGE = {
    "grpc": (Code.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (70000000 vs. 67108864)"),
    "server": (Code.INVALID_ARGUMENT, "result: found 70000000 bytes; expected at most 67043328. Take RestoreStream."),
}


@pytest.mark.parametrize("who", TOO_LARGE)
def test_a_result_too_large_for_a_message_is_asked_for_in_chunks(client: Client, fake: Any, who: str) -> None:
    fake.refuse(*TOO_LARGE[who])
    assert client.restore(SMALL).image == SMALL[::-1]
    assert (fake.calls, len(fake.uploads)) == (2, 1)


def test_files_and_arrays(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(SMALL)
    assert client.restore(path).image == client.restore(str(path)).image == SMALL[::-1]
    client.restore(path).save(tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == SMALL[::-1]
    with pytest.raises(ImageError, match="No such file"):
        client.restore(tmp_path / "none.png")
    assert client.restore(np.zeros((2, 2, 3), np.uint8)).image.endswith(b"GNP\x89")


BUSY = (Code.RESOURCE_EXHAUSTED, "queue: found 9; expected 8. Later.", ("retry-after-ms", "30"))
AWAY = (Code.UNAVAILABLE, "server: found draining; expected ready. Later.")


@pytest.mark.parametrize("picture", [SMALL, LARGE], ids=["unary", "stream"])
def test_away_and_busy_servers_are_tried_again(client: Client, fake: Any, picture: bytes) -> None:
    fake.refuse(*BUSY)
    fake.refuse(*AWAY)
    start = time.monotonic()
    assert client.restore(picture).image == picture[::-1]
    assert fake.calls == 3
    assert time.monotonic() - start >= 0.03  # what the server asked for


def test_tries_end(client: Client, fake: Any) -> None:
    fake.refuse(*AWAY, times=4)
    with pytest.raises(UnavailableError, match=r"found draining; expected ready.*tried 3 times"):
        client.restore(SMALL)
    assert fake.calls == 3


def test_a_busy_server_is_asked_again_for_as_long_as_it_was_said(address: str, fake: Any) -> None:
    fake.refuse(*BUSY, times=7)
    with Client(address, retry=QUICK) as client:
        assert client.restore(SMALL).image == SMALL[::-1]
    assert fake.calls == 8
    fake.refuse(*BUSY, times=100)
    with Client(address, retry=replace(QUICK, patience_s=0.4)) as client:
        with pytest.raises(OverloadError, match=r"found 9; expected 8.*tried (\d|1\d) times") as raised:
            client.restore(SMALL)
        assert raised.value.retry_after_ms == 30


def test_the_deadline_holds_over_all_tries(address: str, fake: Any) -> None:
    fake.refuse(Code.RESOURCE_EXHAUSTED, "busy", ("retry-after-ms", "60000"), times=2)
    start = time.monotonic()
    with Client(address) as client, pytest.raises(OverloadError):
        client.restore(SMALL, timeout_s=2.0)
    assert time.monotonic() - start < 1.9  # nothing is waited for that cannot come in time
    assert fake.calls == 1


REFUSED = [
    (Code.INVALID_ARGUMENT, RequestError),
    (Code.NOT_FOUND, UnknownModelError),
    (Code.UNIMPLEMENTED, UnsupportedError),
    (Code.UNAUTHENTICATED, AccessError),
    (Code.PERMISSION_DENIED, AccessError),
    (Code.DEADLINE_EXCEEDED, DeadlineError),
    (Code.CANCELLED, CancelledError),
    (Code.INTERNAL, ServerError),
    (Code.DATA_LOSS, ServerError),
]


@pytest.mark.parametrize(("code", "kind"), REFUSED, ids=lambda value: getattr(value, "name", None))
@pytest.mark.parametrize("picture", [SMALL, LARGE], ids=["unary", "stream"])
def test_what_cannot_succeed_is_asked_once(
    client: Client, fake: Any, code: grpc.StatusCode, kind: type[Exception], picture: bytes
) -> None:
    fake.refuse(code, "tile: found 3; expected 8. Give 8.")
    with pytest.raises(kind, match=r"tile: found 3; expected 8\. Give 8\.") as raised:
        client.restore(picture)
    assert type(raised.value) is kind
    assert fake.calls == 1


def test_a_slow_server_meets_the_deadline_and_is_left(client: Client, fake: Any) -> None:
    for picture in (SMALL, LARGE):
        fake.hold()
        with pytest.raises(DeadlineError, match="DEADLINE_EXCEEDED"):
            client.restore(picture, timeout_s=0.2)
        assert fake.left.wait(10)


def test_what_a_listener_raises_ends_the_call(client: Client, fake: Any) -> None:
    def held(events: list[pb.RestoreEvent]) -> Iterator[pb.RestoreEvent]:
        yield from events[:2]
        fake.left.wait(10)

    fake.events = held

    def stop(done: int, total: int, left_s: float) -> None:
        if done:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        client.restore(SMALL, progress=stop)
    fake.left.set()
    assert fake.calls == 1


def flipped(events: list[pb.RestoreEvent]) -> list[pb.RestoreEvent]:
    chunk = next(event for event in events if event.WhichOneof("message") == "chunk").chunk
    chunk.data = bytes([chunk.data[0] ^ 1]) + chunk.data[1:]
    return events


BROKEN: dict[str, tuple[Callable[[list[pb.RestoreEvent]], Any], str]] = {
    "a flipped bit": (flipped, "SHA-256"),
    "no end": (lambda events: events[:-1], "ends after 'chunk'"),
    "nothing": (lambda events: [], "ends after 'nothing'"),
    "a lost chunk": (lambda events: [*events[:3], *events[4:]], "at 2000"),
    "a swap": (lambda events: [events[1], events[0], *events[2:]], "'result' after 'nothing'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_download_is_refused_and_not_repeated(client: Client, fake: Any, name: str) -> None:
    fake.events, text = BROKEN[name]
    with pytest.raises(TransferError, match=text):
        client.restore(LARGE)
    assert fake.calls == 1


def test_a_promise_of_terabytes_is_not_believed(client: Client, fake: Any) -> None:
    def huge(events: list[pb.RestoreEvent]) -> list[pb.RestoreEvent]:
        events[1].result.bytes = 1 << 42
        return events

    fake.events = huge
    with pytest.raises(LimitError, match="4398046511104 bytes"):
        client.restore(LARGE)


def test_a_large_result_comes_whole(client: Client, fake: Any) -> None:
    fake.times, fake.chunk_bytes = 16, 1 << 20  # 20 MB, above what gRPC takes in one message by default
    assert client.restore(LARGE).image == LARGE[::-1] * 16
    fake.times = 600_000  # and in one message: 7 MB
    assert client.restore(SMALL).image == SMALL[::-1] * 600_000
    assert len(fake.requests) == 1


def test_a_download_that_breaks_off_is_begun_again(address: str, fake: Any, cut: Callable[..., str]) -> None:
    told: list[tuple[int, int, float]] = []
    with Client(cut(address, after=300_000), retry=QUICK) as client:
        assert client.restore(LARGE, progress=lambda *one: told.append(one)).image == LARGE[::-1]
    assert fake.calls == 2
    assert [done for done, _, _ in told] == [0, 1, 2, 0, 1, 2]


def test_an_upload_that_breaks_off_is_begun_again(address: str, fake: Any, cut: Callable[..., str]) -> None:
    with Client(cut(address, up=300_000), retry=QUICK) as client:
        assert client.restore(LARGE).image == LARGE[::-1]
    assert len(fake.uploads) >= 1


def test_what_the_server_breaks_off_itself_is_its_fault(client: Client, fake: Any) -> None:
    def torn(events: list[pb.RestoreEvent]) -> Iterator[pb.RestoreEvent]:
        yield from events[:3]
        raise ConnectionError

    fake.events = torn
    with pytest.raises(ServerError, match="UNKNOWN"):
        client.restore(LARGE)


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Client(address, retry=QUICK) as client:
            for call in (lambda: client.restore(SMALL), client.status, client.models):
                with pytest.raises(
                    UnavailableError, match=rf"{address}: found .*refused.*lqhq serve.*tried 3"
                ) as raised:
                    call()
                assert type(raised.value) is UnreachableError


def test_somebody_else_there() -> None:
    """A server that speaks no HTTP/2 and hangs up, as a TLS server does on a client without."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.close()

        threading.Thread(target=hang_up, daemon=True).start()
        with Client(f"127.0.0.1:{server.getsockname()[1]}", retry=QUICK) as client, pytest.raises(UnreachableError):
            client.restore(SMALL, timeout_s=5)
        server.shutdown(socket.SHUT_RDWR)


def test_models_describe_status(client: Client, address: str) -> None:
    assert [(one.name, one.version) for one in client.models()] == [("fake", 3), ("torn", 1)]
    assert [one.name for one in client.models(ready=True)] == ["fake"]
    assert list(client.describe().options) == ["seed", "tile"]
    assert client.describe("fake", version=2).summary.version == 2
    with pytest.raises(UnknownModelError, match="expected 'fake'"):
        client.describe("x")
    status = client.status()
    assert (status.address, status.name, status.version, status.ready) == (address, "lqhq", "1.2.3", False)
    assert len(status.models) == 2


def test_the_token_goes_with_every_call(address: str, fake: Any) -> None:
    with Client(address, token="correct-horse-battery") as client:
        client.restore(SMALL)
        client.restore(LARGE)
        client.status()
    assert {seen["authorization"] for seen in fake.metadata} == {"Bearer correct-horse-battery"}


def test_wrong_words_are_told_before_anything_is_sent(client: Client, fake: Any) -> None:
    with pytest.raises(OptionError, match="expected 'each' or 'final'"):
        client.restore(SMALL, blend="soft")
    with pytest.raises(TypeError, match="strength"):
        client.restore(SMALL, strength=1)  # type: ignore[call-arg]
    assert fake.calls == 0


def test_threads_share_a_client(client: Client) -> None:
    results: list[bytes] = []
    pictures = [bytes([number]) * 70_000 for number in range(6)]
    threads = [threading.Thread(target=lambda one=one: results.append(client.restore(one).image)) for one in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == pictures


CHILD = """
import sys
from lqhq.server.client import Client
sys.stdout.write("begun\\n"); sys.stdout.flush()
with Client(sys.argv[1]) as client:
    client.restore(b"x" * int(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 100_000], ids=["unary", "stream"])
def test_ctrl_c_cancels_the_call(address: str, fake: Any, size: int) -> None:
    fake.hold()
    child = subprocess.Popen([sys.executable, "-c", CHILD, address, str(size)], stderr=subprocess.PIPE, text=True)
    assert fake.reached.wait(20)
    os.kill(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    assert fake.left.is_set()


def test_planted_a_client_that_checks_nothing_is_seen(
    client: Client, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lqhq.server.client.folding.Folding._finish", lambda self, done: self.__dict__)
    monkeypatch.setattr("lqhq.server.client.folding.Folding.result", lambda self: self._file.getvalue())
    fake.events = flipped
    assert client.restore(LARGE) != LARGE[::-1]  # so the digest alone stands between this and the caller
