"""Words: what a failure may quote."""

from __future__ import annotations

import types

from lqhq.runtime.engines.trt.log import KEPT, Words, make_logger


def test_errors_are_quoted_once_the_last_three_in_one_line() -> None:
    words = Words()
    for message in ("first", "second", "second", "third\n  line", "fourth"):
        words.hear("ERROR", message)
    assert words.said() == "second; third line; fourth"


def test_what_only_says_that_there_is_no_driver_is_left_out_where_there_is_more() -> None:
    words = Words()
    words.hear("ERROR", "the real reason")
    words.hear("ERROR", "In catchCudaError (cudaError 35: CUDA driver version is insufficient)")
    assert words.said() == "the real reason"
    words.clear()
    words.hear("INTERNAL_ERROR", "(cudaError 35: no driver)")
    assert "cudaError 35" in words.said()


def test_silence_is_said() -> None:
    words = Words()
    words.hear("INFO", "all is well")
    assert words.said() == "no word of the reason"


def test_warnings_and_the_report_are_kept_apart_and_forgotten() -> None:
    words = Words()
    for message in ("careful", "careful", "slow"):
        words.hear("WARNING", message)
    words.hear("VERBOSE", "Layers:\nName: a")
    assert (words.warnings, words.report) == (("careful", "slow"), "Layers:\nName: a")
    words.clear()
    assert (words.warnings, words.report, words.said()) == ((), None, "no word of the reason")


def test_a_builder_that_complains_without_end_fills_no_memory() -> None:
    words = Words()
    for index in range(10 * KEPT):
        words.hear("ERROR", f"complaint {index}")
    assert words.said().endswith(f"complaint {10 * KEPT - 1}")
    assert len(words._errors) == KEPT


def test_the_logger_hands_on_the_level_by_name() -> None:
    words = Words()
    logger = make_logger(types.SimpleNamespace(ILogger=object), words)
    logger.log(types.SimpleNamespace(name="ERROR"), "broken")
    assert words.said() == "broken"
