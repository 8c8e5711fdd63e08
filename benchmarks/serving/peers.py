"""Virtual environments of the peers, made with pip from the package index, and the forms in which each is tried."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from serving.services import Variant

__all__ = ["PACKAGES", "make_environments", "variants_of"]

# uvloop 0.21 is the last whose event loops MLServer's workers start with; forms are read by python-multipart.
PACKAGES = {
    "mlserver": ("mlserver==1.7.1", "uvloop==0.21.0"),
    "litserve": ("litserve==0.2.19", "python-multipart==0.0.34"),
}


def make_environments(folder: Path) -> dict[str, Path]:
    """`folder`/mlserver and `folder`/litserve, made where they are missing. Raises `SystemExit` where pip fails."""
    return {name: _environment(folder / name, packages) for name, packages in PACKAGES.items()}


def _environment(folder: Path, packages: Sequence[str]) -> Path:
    """What is half made is made again: the mark is written last."""
    mark, wanted = folder / "made", "\n".join([*packages, f"onnxruntime=={metadata.version('onnxruntime')}"])
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == wanted):
        print(f"making {folder.name}'s environment", file=sys.stderr, flush=True)
        for command in (
            [sys.executable, "-m", "venv", "--clear", folder],
            [folder / "bin/python", "-m", "pip", "install", "--quiet", *wanted.split("\n")],
        ):
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{folder.name}: {command[-1]}: {done.stderr.strip()[-500:]}")
        mark.write_text(wanted, encoding="utf-8")
    return folder


def variants_of(name: str, threads: int) -> list[Variant]:
    """In which forms a server is tried, for `threads` cores: one worker for all of them, and one a core.

    MLServer may also run models in its own process (0 workers); LitServe's guide has JSON, uploads save the text.
    """
    forms = {"lqhq": ("tensor",), "mlserver": ("bytes",), "litserve": ("upload", "json")}[name]
    counts = (0, 1) if name == "mlserver" else (1,)
    found = [Variant(form=form, workers=workers, threads=threads) for form in forms for workers in counts]
    return [*found, Variant(form=forms[0], workers=threads, threads=1)] if threads > 1 else found
