"""DAPE's pairs by loralib's conventions, checked against its own form: a grouped convolution of A's rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lqhq.export.families.osediff.dape import merge_dape
from lqhq.runtime.errors import CheckpointError

WIDTH, RANK = 6, 2
QKV = "visual_encoder.layers.0.blocks.0.attn.qkv"
QUERY, KEY = (f"tagging_head.encoder.layer.0.crossattention.self.{part}" for part in ("query", "key"))
OTHER = "text_decoder.bert.encoder.layer.3.attention.self.query"
TWIN = "tag_encoder.encoder.layer.0.crossattention.self.query"


def case() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(21)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    tensors = {
        f"{QKV}.weight": normal(3 * WIDTH, WIDTH),
        f"{QUERY}.weight": normal(8, 8),
        f"{KEY}.weight": normal(8, 5),
    }
    tensors |= {"fc.weight": normal(1, 8), f"{QKV}.bias": normal(3 * WIDTH)}
    lora = {f"{QKV}.lora_A": normal(2 * RANK, WIDTH), f"{QKV}.lora_B": normal(2 * WIDTH, RANK)}
    for module, width in ((QUERY, 8), (KEY, 5)):
        lora |= {f"{module}.lora_A": normal(RANK, width), f"{module}.lora_B": normal(8, RANK)}
    lora |= {f"{OTHER}.lora_A": normal(RANK, 8), f"{OTHER}.lora_B": normal(8, RANK)}
    lora |= {f"{TWIN}.lora_A": normal(RANK, 8), f"{TWIN}.lora_B": torch.zeros(8, RANK)}
    return tensors, lora


def merged(lora: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors, _ = case()
    merge_dape("DAPE.pth", lora, tensors, [])
    return tensors


def grouped(lora: dict[str, Tensor]) -> Tensor:
    """loralib's MergedLinear with [True, False, True]: a convolution in two groups, then zeros for the keys."""
    change = functional.conv1d(lora[f"{QKV}.lora_A"][None], lora[f"{QKV}.lora_B"][:, :, None], groups=2)[0]
    zeros = torch.zeros(WIDTH, WIDTH)
    return torch.cat([change[:WIDTH], zeros, change[WIDTH:]]) / RANK


def test_joint_projection() -> None:
    tensors, lora = case()
    wanted = tensors[f"{QKV}.weight"] + grouped(lora)
    torch.testing.assert_close(merged(lora)[f"{QKV}.weight"], wanted)


def test_a_fault_would_show() -> None:
    tensors, lora = case()
    swapped = {**lora, f"{QKV}.lora_A": lora[f"{QKV}.lora_A"].flip(0)}
    assert (merged(swapped)[f"{QKV}.weight"] - tensors[f"{QKV}.weight"] - grouped(lora)).abs().max() > 0.1


def test_single_pairs_and_untouched_weights() -> None:
    tensors, lora = case()
    found = merged(lora)
    for module in (QUERY, KEY):
        wanted = tensors[f"{module}.weight"] + lora[f"{module}.lora_B"] @ lora[f"{module}.lora_A"] / RANK
        torch.testing.assert_close(found[f"{module}.weight"], wanted)
    assert torch.equal(found["fc.weight"], tensors["fc.weight"])
    keys = slice(WIDTH, 2 * WIDTH)
    assert torch.equal(found[f"{QKV}.weight"][keys], tensors[f"{QKV}.weight"][keys])


def test_says_what_was_merged() -> None:
    tensors, lora = case()
    notes: list[str] = []
    merge_dape("DAPE.pth", lora, tensors, notes)
    assert notes == ["merged DAPE's 3 pairs; left 4 of the captioning parts"]


@pytest.mark.parametrize("name", [f"{QKV}.lora_A", f"{QKV}.lora_B", f"{KEY}.lora_B", f"{QUERY}.lora_A"])
def test_half_a_pair_is_refused(name: str) -> None:
    _, lora = case()
    del lora[name]
    with pytest.raises(CheckpointError, match=r"1 of 6 entries missing"):
        merged(lora)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (f"{QKV}.lora_A", (2 * RANK + 1, WIDTH)),
        (f"{QKV}.lora_B", (3 * WIDTH, RANK)),
        (f"{KEY}.lora_A", (RANK, 8)),
        (f"{QUERY}.lora_B", (8,)),
        (f"{QUERY}.lora_B", (8, 0)),
    ],
)
def test_a_wrong_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    _, lora = case()
    lora[name] = torch.ones(shape)
    with pytest.raises(CheckpointError, match="lora_A"):
        merged(lora)


@pytest.mark.parametrize(
    "name",
    [
        "visual_encoder.layers.0.blocks.0.attn.proj.lora_A",
        "visual_encoder.layers.7.blocks.0.attn.qkv.lora_A",
        "tagging_head.encoder.layer.0.crossattention.self.value.lora_B",
        "fc.weight",
        "tag_encoder.embeddings.word_embeddings.weight",
        "lora_A",
    ],
)
def test_what_fits_nothing_is_refused(name: str) -> None:
    _, lora = case()
    with pytest.raises(CheckpointError, match="1 entries that fit nothing"):
        merged({**lora, name: torch.zeros(2, 2)})


def test_a_twin_that_would_be_added_too_is_refused() -> None:
    _, lora = case()
    lora[f"{TWIN}.lora_B"][3, 1] = 1e-6
    with pytest.raises(CheckpointError, match=r"tag_encoder.*not zero"):
        merged(lora)
