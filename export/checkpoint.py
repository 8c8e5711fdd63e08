"""Safe loading of weights: a file or a folder becomes named tensors, a config and digests; no code ever runs.

Nothing here knows a network. What was chosen or set aside on the way is written down in `Checkpoint.notes`.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lqhq.export.config_file import read_json_object
from lqhq.export.foreign_text import printable
from lqhq.export.weights_file import PICKLES, SUFFIXES, read_weights, unreadable
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.manifest import SourceFile

__all__ = ["MAX_BYTES", "Checkpoint", "open_checkpoint", "source_file"]

MAX_BYTES = 64 << 30  # twice the largest restoration checkpoint that we know of, in fp32
PREFERRED = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "model.safetensors",
    "last.ckpt",  # Lightning
    "net_g_latest.pth",  # BasicSR, beside its discriminator
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Named tensors as stored, the folder's config.json (empty for a lone file), source digests, and notes."""

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    sources: tuple[SourceFile, ...]
    notes: tuple[str, ...] = ()


def open_checkpoint(
    path: Path, *, state_key: str | None = None, nested: Sequence[str] = (), config_json: bool = True
) -> Checkpoint:
    """Read a weights file, or a folder of config.json and one weights file (or its `unet/` or `models/`).

    `state_key` chooses the state dict inside a file that holds several (`"ema"`, `"state_dict"`); without it the first
    name of `nested` that the file has does, or the file is one itself. `config_json` False leaves a config.json unread.
    Raises `CheckpointError` for anything but tensors: files that need code, are damaged, too big or ambiguous.
    """
    notes: list[str] = []
    try:
        weights, config_file = _found(path, notes)
        if config_file is not None and not config_json:
            notes.append(f"left {config_file.name} unread: the weights tell all")
            config_file = None
        _refuse_size(weights)
        sources = tuple(source_file(file) for file in (config_file, weights) if file is not None)
    except OSError as error:
        raise CheckpointError(
            str(error.filename or path),
            found=error.strerror or str(error),
            expected="a file or folder that can be read",
            mend="Check the path and its permissions.",
        ) from error
    tensors = read_weights(weights, state_key, nested, notes)
    _refuse_unusable(weights, tensors)
    config = read_json_object(config_file) if config_file else {}
    return Checkpoint(path=path, tensors=tensors, config=config, sources=sources, notes=tuple(notes))


def _found(path: Path, notes: list[str]) -> tuple[Path, Path | None]:
    """The weights file and config.json, if any, of a file or folder."""
    # os.path, not Path: a name that is too long is nothing there, not a traceback.
    if os.path.isdir(path):
        return _inside_folder(path, notes)
    if os.path.isfile(path):
        return path, None
    raise CheckpointError(
        str(path),
        found="no regular file" if os.path.exists(path) else "nothing",  # reading a pipe or a device may never end
        expected="a weights file or a model folder",
        mend="Check the path.",
    )


def _inside_folder(folder: Path, notes: list[str]) -> tuple[Path, Path | None]:
    """The weights and config.json of a model folder, of a pipeline's `unet/`, or of a training's `models/`."""
    if not (folder / "config.json").exists() and (folder / "unet").is_dir():
        others = sorted(
            p.name for p in folder.iterdir() if p.is_dir() and p.name.startswith("unet") and p.name != "unet"
        )
        if others:
            raise CheckpointError(
                str(folder),
                found=f"unet and {', '.join(others)}",
                expected="one network",
                mend=f"Give the one you mean, for example {folder / others[0]}.",
            )
        folder = folder / "unet"
        notes.append("took the folder unet/ of a pipeline")
    config = folder / "config.json"
    files = _weights_files(folder)
    if not files and (folder / "models").is_dir():
        folder = folder / "models"
        files = _weights_files(folder)
        notes.append("took the folder models/ of a training")
    chosen = next((folder / name for name in PREFERRED if (folder / name) in files), None)
    if chosen is None and len(files) == 1:
        chosen = files[0]
    if chosen is None:
        shards = any(p.name.endswith(".index.json") for p in folder.iterdir())
        raise CheckpointError(
            str(folder),
            found=("shards with an index" if shards else ", ".join(p.name for p in files) or "no weights file"),
            expected=f"one weights file ({', '.join(SUFFIXES)})",
            mend="Save the model unsharded, or give the weights file itself.",
        )
    if len(files) > 1:
        notes.append(f"took {chosen.name}; left {', '.join(p.name for p in files if p != chosen)}")
    return chosen, config if config.is_file() else None


def _weights_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())


def _refuse_size(file: Path) -> None:
    """Limits that hold before a byte is parsed; a deflated zip could grow without bound."""
    size = file.stat().st_size
    try:
        if file.suffix in PICKLES and zipfile.is_zipfile(file):  # which raises for some damaged ones
            with zipfile.ZipFile(file) as archive:
                size = max(size, sum(info.file_size for info in archive.infolist()))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise unreadable(file, error) from error
    if not 0 < size <= MAX_BYTES:
        raise CheckpointError(
            str(file), found=f"{size} bytes", expected=f"1 to {MAX_BYTES} bytes", mend="Check the file."
        )


def source_file(file: Path) -> SourceFile:
    """Name, digest and size of a file that was read. Raises `OSError`."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return SourceFile(name=file.name, sha256=digest, bytes=file.stat().st_size)


def _refuse_unusable(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Only dense CPU tensors that own what they show, and only finite numbers."""
    for name, tensor in tensors.items():
        fault = None
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            fault = f"a {tensor.layout} tensor on {tensor.device}"
        elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            # A stride of zero would let a small file claim any amount of memory.
            fault = f"shape {tuple(tensor.shape)} over {tensor.untyped_storage().nbytes()} bytes"
        elif tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
            fault = "NaN or infinite values, as float32"
        if fault:
            raise CheckpointError(
                f"{file}: {printable(name)}",
                found=fault,
                expected="a dense tensor of finite numbers",
                mend="The file is damaged or its training diverged; use another checkpoint.",
            )
