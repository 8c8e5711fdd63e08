"""RAM and DAPE from their checkpoints: what tagging needs is found, joined and filled in; nothing else is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lqhq.export.checkpoint import open_checkpoint
from lqhq.export.families.osediff.dape import merge_dape
from lqhq.export.families.osediff.ram import Ram
from lqhq.export.families.osediff.ram_head import HEADS, HeadShape
from lqhq.export.families.osediff.ram_swin import SwinShape, pair_biases
from lqhq.export.foreign_text import printable
from lqhq.export.state_dict import fill, rename, rows, shown, strip_wrappers
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.manifest import SourceFile

__all__ = ["LoadedRam", "load_ram"]

MEND = "Give RAM's ram_swin_large_14m.pth, undamaged."
BIASES = ".relative_position_bias_table"
OLD_NAME, NEW_NAME = "vision_multi", "tagging_head"
NEEDED = ("visual_encoder.", "tagging_head.encoder.", "image_proj.", "wordvec_proj.", "fc.", "label_embed")
# Computed anew, or deleted in the original before it tags: BERT's self-attention.
COMPUTED = (".relative_position_index", ".attn_mask")
DELETED = ".attention."
MAX_WINDOW, MAX_STAGES, MAX_TAGS = 32, 8, 1 << 16  # far above any; what is built grows with the window's 4th power


@dataclass(frozen=True, slots=True)
class LoadedRam:
    """A tagger in float32 and eval mode, the digests of its files, and what was set aside."""

    ram: Ram
    sources: tuple[SourceFile, ...]
    notes: tuple[str, ...]


def load_ram(ram: Path, dape: Path | None) -> LoadedRam:
    """RAM from `ram`, with the LoRA of `dape` merged into it where that is given.

    Raises `CheckpointError` for files that cannot be read safely, for names missing, left over or of wrong shape, and
    for a LoRA that does not fit.
    """
    where = str(ram)
    checkpoint = open_checkpoint(ram, nested=("model",), config_json=False)
    notes, sources = list(checkpoint.notes), checkpoint.sources
    tensors = rename(
        where, strip_wrappers(checkpoint.tensors, notes), lambda name: name.replace(OLD_NAME, NEW_NAME), notes
    )
    del checkpoint  # with the captioning parts, gigabytes that nobody needs
    tensors = _needed(tensors, notes)
    swin, head = _swin_shape(where, tensors), _head_shape(where, tensors)
    if dape is not None:
        opened = open_checkpoint(dape, config_json=False)
        notes += opened.notes
        merge_dape(str(dape), strip_wrappers(opened.tensors, notes), tensors, notes)
        sources += opened.sources
    network = Ram(swin, head)
    fill(where, network, _spread(where, tensors), mend=MEND)
    return LoadedRam(network, sources, tuple(notes))


def _needed(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """What tagging reads."""
    result = {
        name: tensor
        for name, tensor in tensors.items()
        if name.startswith(NEEDED)
        and not name.endswith(COMPUTED)
        and not (name.startswith("tagging_head.") and DELETED in name)
    }
    if aside := [name for name in tensors if name not in result]:
        parts = shown(sorted({name.split(".")[0] for name in aside}))
        notes.append(f"left {len(aside)} of {len(tensors)} tensors, which tagging does not need, under {parts}")
    return result


def _swin_shape(where: str, tensors: Mapping[str, Tensor]) -> SwinShape:
    def size(name: str, dim: int = 0) -> int:
        return rows(where, tensors, f"visual_encoder.{name}", dim)

    stages = _count(tensors, "visual_encoder.layers.")
    if not 1 <= stages <= MAX_STAGES:
        raise _fault(where, f"{stages} stages under visual_encoder.layers", f"1 to {MAX_STAGES}")
    depths = tuple(_count(tensors, f"visual_encoder.layers.{stage}.blocks.") for stage in range(stages))
    for stage, depth in enumerate(depths):  # here, since the network that is filled has no tables to miss
        for block in range(depth):
            size(f"layers.{stage}.blocks.{block}.attn{BIASES}")
    tables = [f"layers.{stage}.blocks.0.attn{BIASES}" for stage in range(stages)]
    width, entries = size("patch_embed.proj.weight"), size(tables[0])
    window = (round(entries**0.5) + 1) // 2
    if (2 * window - 1) ** 2 != entries or not 1 <= window <= MAX_WINDOW:
        raise _fault(where, f"{entries} entries in {tables[0]}", "(2 * window - 1) ** 2, with a window up to 32")
    heads = tuple(size(table, 1) for table in tables)
    for stage, count in enumerate(heads):
        if not count or (width << stage) % count:
            raise _fault(where, f"{count} heads in {tables[stage]}", f"a number that divides {width << stage}")
    return SwinShape(
        width=width,
        depths=depths,
        heads=heads,
        window=window,
        patch=size("patch_embed.proj.weight", 2),
        hidden=size("layers.0.blocks.0.mlp.fc1.weight"),
    )


def _head_shape(where: str, tensors: Mapping[str, Tensor]) -> HeadShape:
    first = "tagging_head.encoder.layer.0."
    shape = HeadShape(
        tags=rows(where, tensors, "label_embed"),
        width=rows(where, tensors, f"{first}crossattention.self.query.weight"),
        tokens=rows(where, tensors, f"{first}crossattention.self.key.weight", 1),
        hidden=rows(where, tensors, f"{first}intermediate.dense.weight"),
        layers=_count(tensors, "tagging_head.encoder.layer."),
    )
    if not 1 <= shape.tags <= MAX_TAGS:
        raise _fault(where, f"{shape.tags} rows of label_embed", f"1 to {MAX_TAGS}: one per tag")
    if shape.width < HEADS or shape.width % HEADS:
        raise _fault(where, f"questions of width {shape.width}", f"a multiple of {HEADS}, the number of heads")
    return shape


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many different numbers come after `prefix`; gaps show as missing names when the network is filled."""
    return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})


def _spread(where: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Under our network's names: position biases by pairs, and the questions ready made."""
    result = {name: tensor for name, tensor in tensors.items() if not name.startswith(("wordvec_proj.", "label_embed"))}
    for name in [name for name in result if name.endswith(BIASES)]:
        result[name.removesuffix(BIASES) + ".softmax.bias"] = _pairs(where, name, result.pop(name))
    result["tagging_head.queries"] = _questions(where, tensors)
    return result


def _pairs(where: str, name: str, table: Tensor) -> Tensor:
    width = round(table.shape[0] ** 0.5) if table.dim() == 2 else 0
    if width % 2 == 0 or width**2 != table.shape[0] or width > 2 * MAX_WINDOW:
        raise _fault(where, f"{printable(name)} {list(table.shape)}", "[(2 * window - 1) ** 2, heads]")
    return pair_biases(table)


def _questions(where: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """relu(wordvec_proj(label_embed)): the same for every image."""
    weight, bias, labels = (tensors.get(name) for name in ("wordvec_proj.weight", "wordvec_proj.bias", "label_embed"))
    if weight is None or bias is None or labels is None:
        missing = "wordvec_proj.weight" if weight is None else "wordvec_proj.bias"
        raise _fault(where, f"no {missing}", "wordvec_proj.weight and .bias")
    if labels.dim() != 2 or weight.dim() != 2 or weight.shape[1] != labels.shape[1] or bias.shape != weight.shape[:1]:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in (labels, weight, bias))
        raise _fault(where, f"label_embed, wordvec_proj.weight and .bias of {shapes}", "widths that fit each other")
    with torch.no_grad():
        return functional.linear(labels.float(), weight.float(), bias.float()).relu()


def _fault(where: str, found: str, expected: str) -> CheckpointError:
    return CheckpointError(where, found=found, expected=expected, mend=MEND)
