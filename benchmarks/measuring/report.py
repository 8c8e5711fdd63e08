"""The Markdown page that a benchmark writes: what was measured on, tables, and what they say."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import secrets
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from lqhq.runtime import Bundle, open_bundle
from lqhq.runtime.machine import cpu_count

__all__ = ["BENCHMARKS", "Page", "arguments", "weights_line"]

BENCHMARKS = Path(__file__).resolve().parents[1]


def arguments(about: str | None, name: str) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes; the page goes to results/`name`.md unless -o says otherwise."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: proves that it runs")
    parser.add_argument("--bundle", type=_bundle, default="demo", help="a x4 bundle to measure (default: demo)")
    page = BENCHMARKS / "results" / f"{name}.md"
    parser.add_argument("-o", "--output", type=Path, default=page, metavar="FILE", help="where the page goes")
    return parser


def _bundle(text: str) -> str:
    """Contenders run in another folder, so a path must not depend on this one."""
    return text if text == "demo" else os.path.abspath(text)


def weights_line(bundle: str) -> str:
    """Which weights are measured: their digest, so that a table can be traced to a bundle."""
    opened: Bundle = open_bundle(bundle)
    role = next(role for role in ("denoise", "decode") if role in opened.manifest.graphs)
    graph = opened.manifest.graphs[role]["fp32"]
    digest = opened.manifest.files[graph.file].sha256[:12]
    kind = "trained, the shipped demo" if bundle == "demo" else f"those of {opened.manifest.name!r}"
    return f"{kind} (graph sha256 {digest}...)"


def processor() -> str:
    """The CPU's model, from /proc/cpuinfo."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def command() -> str:
    """The command line, without the folders of this machine."""
    words = [word if not os.path.isabs(word) else f".../{Path(word).name}" for word in sys.argv[1:]]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


class Page:
    """Collects text and tables in order; `write` puts them into a file at once, or not at all."""

    def __init__(self, title: str, *, weights: str, packages: Sequence[str]) -> None:
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("lqhq", *packages))
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        facts = {
            "Date": today,
            "CPU": f"{processor()}, {cpu_count()} cores for this process",
            "Versions": f"Python {platform.python_version()}, {versions}",
            "Weights": weights,
            "Command": f"`{command()}`",
        }
        self._parts = [f"# {title}", "\n".join(f"- {name}: {text}" for name, text in facts.items())]

    def text(self, paragraph: str) -> None:
        self._parts.append(paragraph)

    def table(self, heading: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table below a heading."""
        lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
        self._parts += [f"## {heading}", "\n".join(lines)]

    def write(self, path: Path) -> None:
        content = "\n\n".join(self._parts) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            part.write_text(content, encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        print(content)
