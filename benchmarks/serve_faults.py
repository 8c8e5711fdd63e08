"""`lqhq serve` among hostile and broken requests: it must live, forget them, and answer every good one right.

    python benchmarks/serve_faults.py [--quick] [--requests N] [--seed S] [-o FILE]

Wrong messages of both protocols, noise, oversized ones, cancelled and late calls, uploads broken off or out of order,
readers that do not read, foreign protocols; workers killed all along; at the end SIGTERM under load.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hostile.drain import Ended, sigterm_under_load
from hostile.killer import Killer, settled
from hostile.storm import ATTACKS, GOOD, Tally, storm
from hostile.target import Target, ask, good_requests
from measuring.report import Page, arguments, weights_line
from serving.server_process import ServerProcess, free_port, lqhq_command
from serving.services import MODEL, model_ready

__all__ = ["Findings", "attacked", "main", "serving"]

SEED = 20_261_201
REQUESTS, QUICK_REQUESTS = 10_000, 300
THREADS = 12
SIDES = (16, 33, 48)
LARGEST = 1 << 20  # bytes of a message: small, so that what is too large is cheap to make
GROWTH = 1.10  # bar: memory afterwards / memory before
KILL_S, QUICK_KILL_S = 8.0, 2.0  # between two kills: a worker is back, and has worked, before the next
SETTLE_S = 60.0
WARM_ROUNDS = 6  # of every good request, from as many threads as the storm has
CONFIG = f"""
max_message = {LARGEST}
max_image_bytes = {2 * LARGEST}
max_pixels = 1_000_000
max_result_pixels = 20_000_000
idle_s = 1.5
send_s = 1.5
drain = 30.0
"""
COLUMNS = ("request", "count", "what came of it")


class Findings(NamedTuple):
    """`before` and `after` are bytes of the whole process tree; `ended` is what came of SIGTERM."""

    tally: Tally
    killed: int
    before: int
    after: int
    ended: Ended
    seconds: float

    @property
    def grown(self) -> float:
        return self.after / self.before

    @property
    def faults(self) -> list[str]:
        return [*self.tally.faults, *self.ended.faults]

    @property
    def met(self) -> bool:
        """Nothing was wrong, and memory is back."""
        return not self.faults and self.grown <= GROWTH


@contextmanager
def serving(bundle: str, folder: Path, threads: int = 1) -> Iterator[tuple[Target, ServerProcess]]:
    """A server with small limits, and what it must answer."""
    port, config = free_port(), folder / "serve.toml"
    config.write_text(CONFIG, encoding="utf-8")
    more = ("--config", str(config), "--metrics-port", str(free_port()))
    command = lqhq_command(port, [f"{MODEL}={bundle}"], threads, *more)
    good = good_requests(bundle, MODEL, SIDES, threads)
    with ServerProcess(command, folder / "server.log", lambda: model_ready(f"127.0.0.1:{port}")) as process:
        yield Target(port=port, model=MODEL, largest=LARGEST, good=good), process


def attacked(target: Target, process: ServerProcess, requests: int, seed: int, *, kill_s: float = KILL_S) -> Findings:
    """Warm up, storm, settle, ask again, and end it by SIGTERM under load."""
    warm(target)
    before, start = process.memory(), time.monotonic()
    tally = Tally()
    with Killer(process.pid, kill_s, lambda: tally.answered) as killer:
        storm(target, requests, seed, THREADS, tally)
    seconds = time.monotonic() - start
    if not process.alive:
        tally.faults.append(f"the server has ended: {process.last_words()}")
        return Findings(tally, killer.killed, before, 0, Ended(Counter(), []), seconds)
    warm(target)  # a worker that was replaced is as warm as the one before
    after = settled(process.memory, GROWTH * before, SETTLE_S)
    ended = sigterm_under_load(target, process, THREADS, SETTLE_S)
    return Findings(tally, killer.killed, before, after, ended, seconds)


def warm(target: Target) -> None:
    """Every good request a few times, from as many connections as the storm has."""

    def one(number: int) -> None:
        with target.channel() as channel:
            for good in target.good:
                ask(channel, good)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(WARM_ROUNDS * 2)))


def rows(tally: Tally) -> list[tuple[object, ...]]:
    """One line for each kind of request, in the order of `ATTACKS`."""
    found = list[tuple[object, ...]]()
    for name in [*(attack.__name__ for attack in ATTACKS), GOOD]:
        outcomes = sorted((outcome, count) for (kind, outcome), count in tally.outcomes.items() if kind == name)
        words = ", ".join(f"{outcome} {count}" for outcome, count in outcomes)
        found.append((name.replace("_", " "), sum(count for _, count in outcomes), words or "-"))
    return found


def verdict(found: Findings) -> str:
    """In words; "met" where nothing is wrong."""
    return (
        f"{found.tally.requests} requests in {found.seconds:.0f} s, workers killed {found.killed} times. Good "
        f"requests: {found.tally.answered}, each answered right to the byte, "
        f"{found.tally.refused} times after being asked to come again. "
        f"Memory of all processes: {found.before / 1e6:.0f} MB before, {found.after / 1e6:.0f} MB after "
        f"({found.grown:.2f} times); the bar is {GROWTH:.2f} times. Faults: {len(found.faults)}. "
        f"{'Met' if found.met else 'NOT met'}."
    )


def main() -> int:
    """Attack a server and write the page. 1 where the bar is not met."""
    parser = arguments(__doc__, "serve_faults")
    parser.add_argument("--requests", type=int, metavar="N", help=f"how many (default: {REQUESTS})")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help="of all that is random")
    args = parser.parse_args()
    requests = args.requests or (QUICK_REQUESTS if args.quick else REQUESTS)
    kill_s = QUICK_KILL_S if args.quick else KILL_S
    with tempfile.TemporaryDirectory() as name, serving(args.bundle, Path(name)) as (target, process):
        found = attacked(target, process, requests, args.seed, kill_s=kill_s)
    packages = ("onnxruntime", "grpcio", "numpy")
    page = Page("lqhq serve among hostile requests", weights=weights_line(args.bundle), packages=packages)
    page.text(
        f"Seed {args.seed}; {THREADS} threads send attacks and good requests in a random order, over real sockets, and "
        f"every {kill_s:g} s all worker processes are killed (SIGKILL), once the last ones were replaced and have "
        "worked. A fault is an answer to what must be refused, a status that says nothing (INTERNAL, UNKNOWN), and a "
        "wrong answer to a good request. The limits are small (messages of 1 MiB, 1.5 s for slow clients), so that "
        "passing them is cheap. Memory is the proportional set size of the server and its workers, warm, before and "
        "after."
    )
    page.table("Requests", COLUMNS, rows(found.tally))
    page.text(verdict(found))
    page.text(
        f"SIGTERM under load of {THREADS} clients: {found.ended.calls['answered']} calls answered, "
        f"{found.ended.calls['refused']} refused with UNAVAILABLE, {len(found.ended.faults)} faults (an accepted call "
        "that was lost, another status, an exit code that is not 0)."
    )
    if found.faults:
        page.text("\n".join(f"- {fault}" for fault in found.faults))
    page.write(args.output)
    return int(not found.met)


if __name__ == "__main__":
    sys.exit(main())
