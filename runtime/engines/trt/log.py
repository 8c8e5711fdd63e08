"""What a flavour says while it works: its warnings and errors, and the list of layers that it built."""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["Words", "make_logger"]

KEPT = 50  # a failing build can repeat one complaint for each layer
REPORT = "Layers:"  # how the builder's list of layers begins, at detailed verbosity
# Every call to CUDA on a machine without a driver logs this, whatever the real trouble was: cudaError 35, or 100.
NO_DRIVER = ("(cudaError 35:", "(cudaError 100:")


class Words:
    """The latest messages. `report` is the builder's own list of the engine's layers, None before there is one."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=KEPT)
        self._warnings: deque[str] = deque(maxlen=KEPT)
        self.report: str | None = None

    def clear(self) -> None:
        """Forget everything, before a new build."""
        self._errors.clear()
        self._warnings.clear()
        self.report = None

    def hear(self, severity: str, message: str) -> None:
        """Take one message; `severity` is the name of the flavour's level."""
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self._errors.append(message)
        elif severity == "WARNING":
            self._warnings.append(message)
        elif message.startswith(REPORT):
            self.report = message

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning once, in the order of arrival."""
        return tuple(dict.fromkeys(self._warnings))

    def said(self, *, limit: int = 600) -> str:
        """The last errors in one line for an error message; what only says that there is no GPU comes last."""
        errors = list(dict.fromkeys(" ".join(error.split()) for error in self._errors))
        telling = [error for error in errors if not any(code in error for code in NO_DRIVER)] or errors
        return "; ".join(telling[-3:])[:limit] if telling else "no word of the reason"


def make_logger(module: Any, words: Words) -> Any:
    """A logger of the flavour's own kind that fills `words`. A flavour logs from its own threads, too."""

    class Log(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)  # not super(): bindings ask for their own constructor by name

        def log(self, severity: Any, message: str) -> None:
            words.hear(severity.name, message)

    return Log()
