"""Where lines go."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from lqhq.server.logs.log import Log


def test_bound_fields_come_first_and_stay_apart() -> None:
    stream = io.StringIO()
    log = Log(stream=stream, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    one = log.bind(id="r1", model="demo")
    one.bind(id="r2")("ended", seconds=1)
    one("ended")
    log("ended")
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == [
        "ended id=r2 model=demo seconds=1",
        "ended id=r1 model=demo",
        "ended",
    ]


def test_stderr_as_it_is_at_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    Log("json").bind(id="r")("ready", port=8001)
    out, err = capsys.readouterr()
    told = json.loads(err)
    assert out == ""
    assert told["time"].endswith("Z")
    assert {name: told[name] for name in ("event", "id", "port")} == {"event": "ready", "id": "r", "port": 8001}


def test_lines_of_threads_do_not_mix() -> None:
    stream = io.StringIO()
    log = Log("json", stream=stream)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.bind(id=number)("e", text="x" * 300), range(200)))
    assert sorted(json.loads(line)["id"] for line in stream.getvalue().splitlines()) == list(range(200))


def test_a_stream_that_is_gone_does_not_matter() -> None:
    stream = io.StringIO()
    stream.close()
    Log(stream=stream)("e")
