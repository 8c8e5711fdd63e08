"""Files restored by a server, several at once: a bad one does not stop the rest, a lost server does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lqhq.runtime.batch import Outcome, is_finished
from lqhq.runtime.errors import LqhqError
from lqhq.runtime.file_plan import FilePair
from lqhq.runtime.image_write import check_target
from lqhq.runtime.whole_file import make_ready
from lqhq.server.client import AccessError, AsyncClient, Result, UnreachableError
from lqhq.server.client.result import outcome_fields
from lqhq.tools.cli.sending_line import SendingLine

__all__ = ["Sending", "Sent", "send_files"]


class Sent(NamedTuple):
    """What became of a file, and what the server says it did; None where it did nothing."""

    outcome: Outcome
    told: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How files are sent. `asked` goes to `AsyncClient.restore`; `masks` are files by source, None for none.

    `note(pair, text)` gets what the server did.
    """

    jobs: int
    asked: Mapping[str, Any]
    masks: Mapping[Path, Path] | None
    resume: bool
    timeout_s: float | None
    line: SendingLine
    note: Callable[[FilePair, str], None]


async def send_files(client: AsyncClient, pairs: Sequence[FilePair], how: Sending) -> list[Sent]:
    """Restore each pair, up to `how.jobs` at once. Results appear whole or not at all.

    Once the server is not reached any more, or refuses the caller, files that have not been begun fail with that
    error, unsent. Every other expected error fails its own file.
    """
    sent: dict[int, Sent] = {}
    lost: list[LqhqError] = []
    queue = iter(enumerate(pairs))

    async def work() -> None:
        for index, pair in queue:
            try:
                sent[index] = await _send(client, pair, how, lost)
            except LqhqError as error:
                if isinstance(error, UnreachableError | AccessError):
                    lost.append(error)
                sent[index] = Sent(Outcome(pair=pair, status="failed", error=str(error)))
            except MemoryError:
                sent[index] = Sent(Outcome(pair=pair, status="failed", error="memory ran out; give a smaller --jobs"))
            how.line.end(pair.source)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(how.jobs, len(pairs))):
                group.create_task(work())
    except ExceptionGroup as errors:  # a standard error that nobody reads, and the like
        raise errors.exceptions[0] from None
    return [sent[index] for index in range(len(pairs))]


async def _send(client: AsyncClient, pair: FilePair, how: Sending, lost: Sequence[LqhqError]) -> Sent:
    start = time.monotonic()
    mask = how.masks[pair.source] if how.masks else None
    if how.resume and is_finished(pair, mask):
        return Sent(Outcome(pair=pair, status="skipped"))
    if lost:
        return Sent(Outcome(pair=pair, status="failed", error=f"not sent: {lost[0]}"))
    output = check_target(pair.target).lower()
    make_ready(pair.target)

    def progress(done: int, total: int, left_s: float) -> None:
        how.line.update(pair.source, done, total, left_s)

    result = await client.restore(
        pair.source,
        mask=mask,
        output=output,
        timeout_s=how.timeout_s,
        progress=progress if how.line.shown else None,  # without a listener small files need no stream
        **how.asked,
    )
    await asyncio.to_thread(result.save, pair.target)
    text = _described(result)
    how.note(pair, text)
    shape = result.outcome.shape
    seconds = time.monotonic() - start
    done = Outcome(pair=pair, status="done", seconds=seconds, size=(shape.width, shape.height), tiles=text)
    return Sent(done, outcome_fields(result.outcome))


def _described(result: Result) -> str:
    """In a line, what the server chose and what it took."""
    told = result.outcome
    return (
        f"{told.model} {told.version} on {told.device}: tile {told.tile_height}x{told.tile_width}, "
        f"overlap {told.overlap}, {told.works} network call(s), waited {told.queue_s:.2f} s, ran {told.run_s:.2f} s"
    )
