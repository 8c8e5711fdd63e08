"""One weights file becomes named tensors, chosen out of what lies around them. No code in a file ever runs."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lqhq.export.foreign_text import printable
from lqhq.export.placeholder import Placeholder
from lqhq.export.state_dict import shown
from lqhq.export.torch_archive import is_torchscript, read_archive
from lqhq.runtime.errors import CheckpointError

__all__ = ["PICKLES", "SUFFIXES", "read_weights", "unreadable"]

PICKLES = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (".safetensors", *PICKLES)
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


def read_weights(file: Path, state_key: str | None, nested: Sequence[str], notes: list[str]) -> dict[str, Tensor]:
    """The state dict in `file`: at `state_key` where that is given, else `file` itself, else the first of `nested`.

    Raises `CheckpointError` for whatever is not a dict of tensors.
    """
    data: Any
    try:
        if file.suffix == ".safetensors":
            data = load_file(file, device="cpu")
        elif file.suffix in PICKLES:
            data = _read_pickle(file, notes)
        else:
            raise _not_weights(file)
    except pickle.UnpicklingError as error:
        raise _not_plain(file, error) from error
    except SafetensorError as error:
        raise unreadable(file, error) from error
    except LOAD_ERRORS as error:
        raise unreadable(file, error) from error
    return _only_tensors(file, _state_dict(file, data, state_key, nested, notes))


def _read_pickle(file: Path, notes: list[str]) -> Any:
    """As plain weights; a zip archive that is more than that, with placeholders for the rest."""
    if is_torchscript(file):
        raise ValueError("a TorchScript archive: a program with its weights")
    try:
        with warnings.catch_warnings():  # torch warns about old pickles; they end in an error or load
            warnings.simplefilter("ignore")
            return torch.load(file, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        if not zipfile.is_zipfile(file):
            raise
    content = read_archive(file)
    if content.foreign:
        notes.append(f"left out, and never run, what the file keeps beside tensors: {shown(content.foreign)}")
    return content.tree


def _not_weights(file: Path) -> CheckpointError:
    graph = file.suffix == ".onnx"
    return CheckpointError(
        str(file),
        found=f"an exported graph ({file.suffix})" if graph else f"a file ending in {file.suffix!r}",
        expected=f"one of {', '.join(SUFFIXES)}",
        mend="Give the checkpoint that the graph was exported from."
        if graph
        else "Give the weights file or the model folder.",
    )


def _not_plain(file: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """In our words: torch's own suggest to load the file with less safety, which would run what it holds."""
    foreign = re.search(r"GLOBAL ([\w.]{1,100})", str(error))
    if foreign is None:
        return unreadable(file, ValueError("its pickle is damaged, or holds more than tensors"))
    return _foreign(file, foreign[1])


def _foreign(file: Path, names: str) -> CheckpointError:
    return CheckpointError(
        str(file),
        found=f"a file that holds code or foreign classes: {printable(names)}",
        expected="safetensors, or a PyTorch file that holds tensors only",
        mend="Loading it would run that code. Where you trust the file, save the state dict alone: "
        "torch.save(model.state_dict(), ...), or as safetensors.",
    )


def unreadable(file: Path, error: Exception) -> CheckpointError:
    """The error for a file that no reader could parse."""
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


def _state_dict(
    file: Path, data: Any, state_key: str | None, nested: Sequence[str], notes: list[str]
) -> Mapping[Any, Any]:
    """`data`, or the dict inside it that `state_key` chooses, and therein the first fitting name of `nested`."""
    if isinstance(data, Placeholder):
        raise _foreign(file, str(data))
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
                found=f"no state dict at {state_key!r} among {_keys(data)}",
                expected="a state dict at state_key",
                mend="Correct or leave out state_key (or --weights).",
            )
        notes.append(f"took {state_key!r} of {_keys(data)}")
        data = data[state_key]
    held = [key for key in nested if isinstance(data.get(key), Mapping) and data[key]]
    whole: Mapping[Any, Any] = data
    if not held:
        return whole
    other = f'; "state_key" in --config chooses {" or ".join(map(repr, held[1:]))}' if held[1:] else ""
    if len(data) > 1:
        notes.append(f"took {held[0]!r} of {_keys(data)}{other}")
    return data[held[0]]  # type: ignore[no-any-return]


def _only_tensors(file: Path, data: Mapping[Any, Any]) -> dict[str, Tensor]:
    odd = [key for key, value in data.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    nested = [repr(key) for key, value in data.items() if isinstance(value, Mapping) and isinstance(key, str)]
    foreign = [str(value) for value in data.values() if isinstance(value, Placeholder)]
    if foreign and not nested:
        raise _foreign(file, ", ".join(foreign[:4]))
    if odd or not data:
        raise CheckpointError(
            str(file),
            found=f"keys {_keys(data)}, not all tensors",
            expected="a flat state dict (names to tensors)",
            mend=f'Choose one with "state_key" in --config: {" or ".join(nested)}.'
            if nested
            else "Save `module.state_dict()` instead.",
        )
    return dict(data)


def _keys(data: Mapping[Any, Any]) -> str:
    keys = [printable(str(key), 80) for key in list(data)[:8]]
    return ", ".join(keys) + (f" and {len(data) - 8} more" if len(data) > 8 else "") if keys else "none"
