"""Reads osediff.pkl: a PyTorch file of tensors, numbers and lists. No code in it ever runs."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lqhq.export.checkpoint import source_file
from lqhq.export.foreign_text import printable
from lqhq.export.weights_file import LOAD_ERRORS, unreadable
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.manifest import SourceFile

__all__ = ["KEYS", "MAX_BYTES", "read_adapter_file"]

MAX_BYTES = 4 << 30  # rank 4 of SD 2.1 takes 18 MB, and no rank makes sense that is nearly as large as its layers
KEYS = (
    "rank_unet",
    "rank_vae",
    "unet_lora_encoder_modules",
    "unet_lora_decoder_modules",
    "unet_lora_others_modules",
    "vae_lora_encoder_modules",
    "state_dict_unet",
    "state_dict_vae",
)
MEND = "Give osediff.pkl or osediff_face.pkl as the OSEDiff repository publishes or trains them."


def read_adapter_file(file: Path) -> tuple[dict[str, Any], SourceFile]:
    """The file's content, which has exactly `KEYS`, and its digest. Raises `CheckpointError` for anything else."""
    if not os.path.isfile(file):
        raise CheckpointError(str(file), found="no regular file", expected="OSEDiff's checkpoint", mend=MEND)
    try:
        source = _source(file)
        with warnings.catch_warnings():  # torch warns about old pickles; they end in an error or load
            warnings.simplefilter("ignore")
            data = torch.load(file, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise unreadable(file, ValueError("its pickle is damaged, or holds more than tensors")) from error
    except LOAD_ERRORS as error:
        raise unreadable(file, error) from error
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise CheckpointError(
            str(file), found=f"a {type(data).__name__}", expected=f"a dict of {', '.join(KEYS)}", mend=MEND
        )
    missing, extra = [key for key in KEYS if key not in data], [key for key in data if key not in KEYS]
    if missing or extra:
        found = [f"{word} {', '.join(printable(key, 60) for key in keys[:8])}" for word, keys in
                 (("no", missing), ("unknown keys", extra)) if keys]  # fmt: skip
        raise CheckpointError(
            str(file), found="; ".join(found), expected=f"{', '.join(KEYS)}, and nothing else", mend=MEND
        )
    return dict(data), source


def _source(file: Path) -> SourceFile:
    size = file.stat().st_size
    largest = size
    if zipfile.is_zipfile(file):  # a deflated one could grow without bound
        with zipfile.ZipFile(file) as archive:
            largest = max(size, sum(info.file_size for info in archive.infolist()))
    if not 0 < largest <= MAX_BYTES:
        raise CheckpointError(str(file), found=f"{largest} bytes", expected=f"1 to {MAX_BYTES} bytes", mend=MEND)
    return source_file(file)
