"""How much all messages and uploads together may hold in memory before their requests are let in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lqhq.server.v2.errors import OverloadError

__all__ = ["MessageRoom"]

RETRY_MS = 1000.0  # uploads last as long as their clients' lines are slow: nobody can predict when one ends


class MessageRoom:
    """Room is taken for a message that came, or for what an upload declares before its first chunk.

    Admission counts what a request needs to be worked on; this is what came, as it came. Used on the event loop alone.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0  # bytes

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Room for `size` bytes while the block runs. Raises `OverloadError` where it is taken."""
        # A lone one always finds room: whether it is too large, its own limit says.
        if self.held and self.held + size > self._most:
            raise OverloadError(
                "messages",
                found=f"{self.held} bytes of other requests in memory, and {size} more",
                expected=f"at most {self._most} together",
                mend=f"The server is busy; try again in about {RETRY_MS:.0f} ms.",
                retry_after_ms=RETRY_MS,
            )
        self.held += size
        try:
            yield
        finally:
            self.held -= size
