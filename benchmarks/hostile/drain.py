"""SIGTERM under load: what was accepted is answered, what comes later is refused cleanly."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
from serving.server_process import ServerProcess

from hostile.target import CALL_S, STREAM, Good, Target
from hostile.verdict import BUSY, FaultError, code_of
from lqhq.server.protos import lqhq_v1_pb2 as v1

__all__ = ["Ended", "sigterm_under_load"]

BEFORE_S = 1.0  # of load before the signal
WAIT_S = 0.02  # a client that was refused comes again
REFUSALS = 3  # so many in a row end a client


class Ended(NamedTuple):
    """How many calls were answered, refused, or told to come again, and what the server did that it must not."""

    calls: Counter[str]
    faults: list[str]


def sigterm_under_load(target: Target, process: ServerProcess, clients: int, patience: float) -> Ended:
    """Closed loops of RestoreStream, a signal, and what came of the calls.

    Faults are: a call that had its `accepted` and was not answered, a refusal that is not UNAVAILABLE, no refusal at
    all, an exit code that is not 0. A client ends when it has been refused a few times in a row.
    """
    told, calls, faults, lock = threading.Event(), Counter[str](), list[str](), threading.Lock()
    streams = [good for good in target.good if good.streamed]

    def client(number: int) -> None:
        refused = 0
        with target.channel() as channel:
            for at in itertools.count(number):
                try:
                    outcome = _one(channel, streams[at % len(streams)], told)
                except FaultError as fault:
                    outcome = "fault"
                    faults.append(str(fault))
                with lock:
                    calls[outcome] += 1
                refused = 0 if outcome == "answered" else refused + told.is_set()
                if refused == REFUSALS:
                    return
                if outcome != "answered":
                    time.sleep(WAIT_S)

    with ThreadPoolExecutor(clients) as pool:
        ends = [pool.submit(client, number) for number in range(clients)]
        time.sleep(BEFORE_S)
        told.set()
        code = process.terminate(patience)
        for end in ends:
            end.result(CALL_S)
    if code != 0:
        faults.append(f"SIGTERM: exit code {code}; expected 0: {process.last_words()}")
    if not calls["refused"] or not calls["answered"]:
        faults.append(f"SIGTERM: {dict(calls)}; expected calls of both kinds")
    return Ended(calls, faults)


def _one(channel: grpc.Channel, good: Good, told: threading.Event) -> str:
    """One call. `told` says that the signal was sent before the call began, or may have been."""
    events, accepted = list[bytes](), False
    try:
        for event in channel.stream_stream(STREAM)(iter(good.messages), timeout=CALL_S):
            events.append(event)
            accepted = accepted or v1.RestoreEvent.FromString(event).WhichOneof("message") == "accepted"
    except grpc.RpcError as error:
        code = code_of(error)
        if accepted:
            raise FaultError(f"SIGTERM: an accepted call ended with {code.name} ({error.details()})") from error
        if code is grpc.StatusCode.UNAVAILABLE and told.is_set():
            return "refused"
        if code in BUSY:
            return "busy"
        raise FaultError(f"SIGTERM: status {code.name} ({error.details()}); expected UNAVAILABLE") from error
    if good.taken(events) != good.answer:
        raise FaultError("SIGTERM: a wrong answer")
    return "answered"
