"""Safe loading of weights: a file or a folder becomes named tensors, a config and digests; no code ever runs.

Nothing here knows a network. What was chosen or set aside on the way is written down in `Checkpoint.notes`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lqhq.export.config_file import read_json_object
from lqhq.export.foreign_text import printable
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.manifest import SourceFile

__all__ = ["MAX_BYTES", "Checkpoint", "open_checkpoint"]

MAX_BYTES = 64 << 30  # twice the largest restoration checkpoint that we know of, in fp32
PICKLES = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (".safetensors", *PICKLES)
PREFERRED = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "model.safetensors")
# What torch.load raises on damaged or hostile files, found by cutting and flipping bytes of good ones.
LOAD_ERRORS = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
    AssertionError,
    zipfile.BadZipFile,
    struct.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Named tensors as stored, the folder's config.json (empty for a lone file), source digests, and notes."""

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    sources: tuple[SourceFile, ...]
    notes: tuple[str, ...] = ()


def open_checkpoint(path: Path, *, state_key: str | None = None) -> Checkpoint:
    """Read a weights file, or a folder of config.json and one weights file (or a pipeline's `unet/`).

    `state_key` chooses the state dict inside a file that holds several (`"ema"`, `"state_dict"`). Raises
    `CheckpointError` for anything but tensors: files that need code, are damaged, too big or ambiguous.
    """
    notes: list[str] = []
    try:
        weights, config_file = _found(path, notes)
        _refuse_size(weights)
        sources = tuple(_source(file) for file in (config_file, weights) if file is not None)
    except OSError as error:
        raise CheckpointError(
            str(error.filename or path),
            found=error.strerror or str(error),
            expected="a file or folder that can be read",
            mend="Check the path and its permissions.",
        ) from error
    tensors = _read_tensors(weights, state_key, notes)
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
    """The weights and config.json of a model folder, or of the `unet/` of a pipeline folder."""
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
    files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
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


def _refuse_size(file: Path) -> None:
    """Limits that hold before a byte is parsed; a deflated zip could grow without bound."""
    size = file.stat().st_size
    if file.suffix in PICKLES and zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                size = max(size, sum(info.file_size for info in archive.infolist()))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            raise _unreadable(file, error) from error
    if not 0 < size <= MAX_BYTES:
        raise CheckpointError(
            str(file), found=f"{size} bytes", expected=f"1 to {MAX_BYTES} bytes", mend="Check the file."
        )


def _source(file: Path) -> SourceFile:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return SourceFile(name=file.name, sha256=digest, bytes=file.stat().st_size)


def _read_tensors(file: Path, state_key: str | None, notes: list[str]) -> dict[str, Tensor]:
    data: Any
    try:
        if file.suffix == ".safetensors":
            data = load_file(file, device="cpu")
        elif file.suffix in PICKLES:
            with (
                warnings.catch_warnings()
            ):  # torch warns about TorchScript and old pickles; both end in an error or load
                warnings.simplefilter("ignore")
                data = torch.load(file, weights_only=True, map_location="cpu")
        else:
            raise CheckpointError(
                str(file),
                found=f"a file ending in {file.suffix!r}",
                expected=f"one of {', '.join(SUFFIXES)}",
                mend="Give the weights file or the model folder.",
            )
    except pickle.UnpicklingError as error:
        raise _not_plain(file, error) from error
    except SafetensorError as error:
        raise _unreadable(file, error) from error
    except LOAD_ERRORS as error:
        raise _unreadable(file, error) from error
    return _flat(file, data, state_key, notes)


def _not_plain(file: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """In our words: torch's own suggest to load the file with less safety, which would run what it holds."""
    foreign = re.search(r"GLOBAL ([\w.]{1,100})", str(error))
    if foreign is None:
        return _unreadable(file, ValueError("its pickle is damaged, or holds more than tensors"))
    return CheckpointError(
        str(file),
        found=f"a file that holds code or foreign classes: {printable(foreign[1])}",
        expected="safetensors, or a PyTorch file that holds tensors only",
        mend="Loading it would run that code. Where you trust the file, save the state dict alone: "
        "torch.save(model.state_dict(), ...), or as safetensors.",
    )


def _unreadable(file: Path, error: Exception) -> CheckpointError:
    text = printable(str(error)) or type(error).__name__
    if "weights_only" in str(error):  # advice of torch that is not ours
        text = "TorchScript, or an old format"
    return CheckpointError(
        str(file),
        found=f"a file that cannot be read as plain weights ({text})",
        expected="safetensors, or a PyTorch file that holds tensors only",
        mend="Get an undamaged copy; if it needs code to load (a whole module, TorchScript), save "
        "`module.state_dict()` where you trust the file.",
    )


def _flat(file: Path, data: Any, state_key: str | None, notes: list[str]) -> dict[str, Tensor]:
    """The flat dict of tensors in `data`, or at `state_key` in it."""
    if not isinstance(data, Mapping):
        raise CheckpointError(
            str(file),
            found=f"a {type(data).__name__}",
            expected="a state dict (names to tensors)",
            mend="Save `module.state_dict()` instead.",
        )
    if state_key is not None:
        if not isinstance(data.get(state_key), Mapping):
            raise CheckpointError(
                str(file),
                found=f"no state dict at {state_key!r} among {_shown(data)}",
                expected="a state dict at state_key",
                mend="Correct or leave out state_key.",
            )
        notes.append(f"took {state_key!r} of {_shown(data)}")
        data = data[state_key]
    return _only_tensors(file, data)


def _only_tensors(file: Path, data: Mapping[Any, Any]) -> dict[str, Tensor]:
    odd = [key for key, value in data.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if odd or not data:
        nested = [repr(key) for key, value in data.items() if isinstance(value, Mapping)]
        raise CheckpointError(
            str(file),
            found=f"keys {_shown(data)}, not all tensors",
            expected="a flat state dict (names to tensors)",
            mend=f'Choose one with "state_key" in --config: {" or ".join(nested)}.'
            if nested
            else "Save `module.state_dict()` instead.",
        )
    return dict(data)


def _shown(data: Mapping[Any, Any]) -> str:
    keys = [printable(str(key), 80) for key in list(data)[:8]]
    return ", ".join(keys) + (f" and {len(data) - 8} more" if len(data) > 8 else "") if keys else "none"


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
