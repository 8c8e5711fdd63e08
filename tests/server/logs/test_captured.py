"""Python's own logging, in our log."""

from __future__ import annotations

import logging
from typing import Any

from lqhq.server.logs.captured import captured_logging


def test_warnings_come_and_others_do_not() -> None:
    said: list[dict[str, Any]] = []
    logger = logging.getLogger("grpc._cython.cygrpc")
    with captured_logging(lambda event, **fields: said.append({"event": event, **fields})):
        logger.warning("slow %s", "peer")
        logger.info("nothing")
        try:
            raise ValueError("inner")
        except ValueError:
            logger.exception("failed")
    logger.warning("after")
    assert said == [
        {"event": "library", "logger": logger.name, "level": "WARNING", "message": "slow peer"},
        {
            "event": "library",
            "logger": logger.name,
            "level": "ERROR",
            "message": "failed",
            "error": "ValueError('inner')",
        },
    ]
