"""RAM's checkpoint: what tagging needs is found among the rest, and anything missing or odd is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lqhq.export.families.osediff.ram import Ram
from lqhq.export.families.osediff.ram_head import HeadShape
from lqhq.export.families.osediff.ram_swin import SwinShape, pair_biases
from lqhq.export.families.osediff.ram_weights import load_ram
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.tools.cli.main import run

SWIN = SwinShape(width=8, depths=(2, 1), heads=(1, 2), window=3, patch=4, hidden=16)
HEAD = HeadShape(tags=7, width=16, tokens=6, hidden=24, layers=2)
WORDS = 5  # width of label_embed
RANK = 2

State = dict[str, Tensor]


def ram_state(seed: int = 5) -> State:
    """As `model` of the original's file, with parts that tagging does not need."""
    torch.manual_seed(seed)
    state: State = {}
    for name, tensor in Ram(SWIN, HEAD).state_dict().items():
        if name.endswith("softmax.bias"):
            heads, window = tensor.shape[0], SWIN.window
            module = name.removesuffix("softmax.bias")
            state[f"{module}relative_position_bias_table"] = torch.randn((2 * window - 1) ** 2, heads)
            state[f"{module}relative_position_index"] = torch.zeros(window**2, window**2, dtype=torch.int64)
        elif name != "tagging_head.queries":
            state[name] = torch.randn_like(tensor)
    state["visual_encoder.layers.0.blocks.1.attn_mask"] = torch.zeros(4, 9, 9)
    state["label_embed"] = torch.randn(HEAD.tags, WORDS)
    state["wordvec_proj.weight"], state["wordvec_proj.bias"] = torch.randn(HEAD.width, WORDS), torch.randn(HEAD.width)
    state["text_decoder.bert.embeddings.word_embeddings.weight"] = torch.randn(3, 4)
    state["tag_encoder.encoder.layer.0.crossattention.self.query.weight"] = torch.randn(HEAD.width, HEAD.width)
    return state


def dape_state(state: State) -> State:
    draw = torch.Generator().manual_seed(8)
    lora: State = {}
    for name, weight in state.items():
        module, out = name.removesuffix(".weight"), weight.shape[0]
        if name.endswith("attn.qkv.weight"):
            lora[f"{module}.lora_A"] = torch.randn(2 * RANK, weight.shape[1], generator=draw)
            lora[f"{module}.lora_B"] = torch.randn(out // 3 * 2, RANK, generator=draw)
        elif "tagging_head" in name and name.endswith(("self.query.weight", "self.key.weight")):
            lora[f"{module}.lora_A"] = torch.randn(RANK, weight.shape[1], generator=draw)
            lora[f"{module}.lora_B"] = torch.randn(out, RANK, generator=draw)
    return lora


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(state: State, name: str = "ram.pth", *, nested: bool = True) -> Path:
        torch.save({"model": state} if nested else state, tmp_path / name)
        return tmp_path / name

    return save


def test_reads_shapes_and_weights(saved: Callable[..., Path]) -> None:
    state = ram_state()
    loaded = load_ram(saved(state), None)
    assert loaded.ram.visual_encoder.shape == SWIN
    assert loaded.ram.tags == HEAD.tags
    own = loaded.ram.state_dict()
    for name, tensor in state.items():
        if name in own:
            assert torch.equal(own[name], tensor), name
    embed = state["label_embed"] @ state["wordvec_proj.weight"].T + state["wordvec_proj.bias"]
    torch.testing.assert_close(own["tagging_head.queries"], embed.clamp(min=0))
    table = state["visual_encoder.layers.1.blocks.0.attn.relative_position_bias_table"]
    assert torch.equal(own["visual_encoder.layers.1.blocks.0.attn.softmax.bias"], pair_biases(table))
    assert not loaded.ram.training
    assert any("under tag_encoder, text_decoder, visual_encoder" in note for note in loaded.notes)
    assert [source.name for source in loaded.sources] == ["ram.pth"]


def test_old_names_and_wrappers(saved: Callable[..., Path]) -> None:
    state = ram_state()
    old = {f"module.{name.replace('tagging_head', 'vision_multi')}": tensor for name, tensor in state.items()}
    first, second = load_ram(saved(state), None).ram, load_ram(saved(old, "old.pth"), None).ram
    image = torch.rand(1, 3, SWIN.side, SWIN.side)
    assert torch.equal(first(image), second(image))


def test_dape_is_merged_after_the_base(saved: Callable[..., Path]) -> None:
    state = ram_state()
    lora = dape_state(state)
    lora["text_decoder.bert.encoder.layer.0.attention.self.query.lora_A"] = torch.randn(RANK, 4)
    loaded = load_ram(saved(state), saved(lora, "DAPE.pth", nested=False))
    module = "tagging_head.encoder.layer.1.crossattention.self.key"
    wanted = state[f"{module}.weight"] + lora[f"{module}.lora_B"] @ lora[f"{module}.lora_A"] / RANK
    torch.testing.assert_close(loaded.ram.state_dict()[f"{module}.weight"], wanted)
    assert [source.name for source in loaded.sources] == ["ram.pth", "DAPE.pth"]


@pytest.mark.parametrize(
    "name",
    [
        "fc.bias",
        "label_embed",
        "image_proj.weight",
        "wordvec_proj.bias",
        "visual_encoder.norm.weight",
        "visual_encoder.layers.0.blocks.1.attn.qkv.weight",
        "visual_encoder.layers.0.blocks.0.attn.relative_position_bias_table",
        "visual_encoder.layers.0.blocks.1.attn.relative_position_bias_table",
        "tagging_head.encoder.layer.1.output.LayerNorm.bias",
    ],
)
def test_a_missing_name_is_refused(saved: Callable[..., Path], name: str) -> None:
    """The original loads with strict=False, and would tag with what its initialisation happened to be."""
    state = ram_state()
    del state[name]
    with pytest.raises(CheckpointError) as caught:
        load_ram(saved(state), None)
    assert name in str(caught.value)


def test_leftovers_and_shapes_are_refused(saved: Callable[..., Path]) -> None:
    for name, tensor in {
        "visual_encoder.absolute_pos_embed": torch.zeros(1, 36, 8),
        "visual_encoder.layers.9.blocks.0.norm1.weight": torch.zeros(8),
        "tagging_head.encoder.layer.0.crossattention.self.query.lora_A": torch.zeros(2, 16),
        "visual_encoder.layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(24, 1),
        "visual_encoder.layers.0.blocks.1.attn.relative_position_bias_table": torch.zeros(25, 2),
        "label_embed": torch.zeros(7, 4),
        "wordvec_proj.bias": torch.zeros(3),
        "visual_encoder.norm.weight": torch.zeros(3),
    }.items():
        with pytest.raises(CheckpointError):
            load_ram(saved({**ram_state(), name: tensor}), None)


def test_a_window_too_large_is_refused_before_it_is_built(saved: Callable[..., Path]) -> None:
    state = ram_state()
    for name in state:
        if name.endswith("relative_position_bias_table"):
            state[name] = torch.zeros(501**2, 1)
    with pytest.raises(CheckpointError, match="window up to 32"):
        load_ram(saved(state), None)


@pytest.mark.slow
def test_a_bundle_with_a_tagger_puts_the_tags_before_the_prompt(saved, data, tmp_path, capsys) -> None:
    """Through the command line: the tags are those that the network gives for the prepared image."""
    state = ram_state()
    ram, dape = saved(state), saved(dape_state(state), "DAPE.pth", nested=False)
    names = [f"tag {index}" for index in range(HEAD.tags)]
    (tmp_path / "ram_tag_list.txt").write_text("\n".join(names))
    (tmp_path / "ram_tag_list_threshold.txt").write_text("\n".join(["0.5"] * HEAD.tags))
    bundle, source = tmp_path / "tagged", tmp_path / "in.png"
    words = ["export", "osediff", str(data / "osediff.pkl"), "--base", str(data / "base"), "-o", str(bundle)]
    assert run([*words, "--ram", str(ram), "--dape", str(dape), "--process-size", "48"]) == 0
    assert {"text", "tag"} < set(open_bundle(bundle).manifest.graphs)
    image = np.random.default_rng(3).integers(0, 256, (15, 20, 3), np.uint8)
    write_image(source, ImageFile(pixels=image))
    capsys.readouterr()
    assert run(["upscale", str(bundle), str(source), "-o", str(tmp_path / "a.png"), "--tagger", "--prompt", "old"]) == 0
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prompt: ")]
    large = Image.fromarray(image).resize((80, 60), Image.Resampling.BICUBIC)
    unit = torch.from_numpy(np.asarray(large, np.float32) / 255).permute(2, 0, 1)[None]
    network = load_ram(ram, dape).ram
    with torch.no_grad():
        logits = network(functional.interpolate(unit, (network.side, network.side), mode="bilinear"))[0]
    wanted = [name for name, logit in zip(names, logits.tolist(), strict=True) if logit > 0]
    assert wanted
    assert told == f"prompt: {', '.join(wanted)}, old,"
    assert run(["upscale", str(bundle), str(source), "-o", str(tmp_path / "b.png"), "--prompt", told[8:]]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
