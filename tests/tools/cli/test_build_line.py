"""The line of a build, and Ctrl-C while its library does not look."""

from __future__ import annotations

import io
import signal
import threading

import pytest

from lqhq.runtime.engines.trt.progress import Progress
from lqhq.runtime.errors import CancelledError, EngineError
from lqhq.tools.cli.build_line import BuildLine, run_stoppable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(done: float, left_s: float | None) -> Progress:
    return Progress(phase="timing\x1b[2J", done=done, seconds=1.0, left_s=left_s)


def test_percent_and_time_left() -> None:
    stream = Terminal()
    line = BuildLine(stream)
    line.what = "demo denoise fp32"
    line.update(progress(0.0, None))
    assert stream.getvalue() == "\rdemo denoise fp32  0 %  timing?[2J"
    line.update(progress(0.5, 61.0))
    assert stream.getvalue().endswith("\rdemo denoise fp32  50 %  timing?[2J  1:01 left")
    line.clear()
    assert stream.getvalue().endswith(" \r")


def test_silent_where_nobody_looks() -> None:
    stream = io.StringIO()
    line = BuildLine(stream)
    line.update(progress(0.5, 1.0))
    line.clear()
    assert stream.getvalue() == ""


def test_results_and_errors_come_through() -> None:
    def fail(*, cancel: object) -> None:
        raise EngineError("x", found="y", expected="z", mend="w")

    assert run_stoppable(lambda *, cancel: cancel()) is False
    with pytest.raises(EngineError, match="found y"):
        run_stoppable(fail)


def test_ctrl_c_waits_for_the_builder_to_stop() -> None:
    stopped = threading.Event()

    def work(*, cancel: object) -> None:
        assert callable(cancel)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        pause = threading.Event()
        for _ in range(500):  # 5 s
            if cancel():
                stopped.set()
                raise CancelledError("build", found="a stop", expected="to go on", mend="")
            pause.wait(0.01)

    with pytest.raises(KeyboardInterrupt):
        run_stoppable(work)
    assert stopped.is_set()
