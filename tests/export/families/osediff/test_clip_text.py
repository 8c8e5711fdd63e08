"""The text tower's properties; its values are in the golden case."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lqhq.export.families.osediff.clip_text import ClipText, clip_names, text_shape
from lqhq.runtime.errors import CheckpointError

CONFIG = {
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "vocab_size": 40,
}


@pytest.fixture
def tower():
    torch.manual_seed(12)
    return ClipText(text_shape("", CONFIG)).eval().requires_grad_(False)


def test_what_silent_configs_mean():
    shape = text_shape("", CONFIG)
    assert (shape.quick, shape.eps, shape.length) == (True, 1e-5, 77)
    assert not text_shape("", CONFIG | {"hidden_act": "gelu"}).quick
    with pytest.raises(CheckpointError, match="vocab_size"):
        text_shape("", {key: value for key, value in CONFIG.items() if key != "vocab_size"})


def test_a_token_sees_those_before_it_only(tower):
    ids = torch.randint(0, 40, (1, 77), generator=torch.Generator().manual_seed(13))
    changed = ids.clone()
    changed[0, 50] = (ids[0, 50] + 1) % 40
    difference = (tower(ids) - tower(changed)).abs().amax(dim=2)[0]
    assert difference[:50].max() == 0
    assert (difference[50:] > 0).all()


def test_against_pytorchs_own_layer(tower):
    """Another formulation of the same layer: pre-norm encoder layers, here with quick GELU."""
    ids = torch.randint(0, 40, (2, 77), generator=torch.Generator().manual_seed(14))
    x = tower.embeddings.token_embedding.weight[ids] + tower.embeddings.position_embedding.weight
    mask = nn.Transformer.generate_square_subsequent_mask(77)
    for ours in tower.encoder.layers:
        layer = nn.TransformerEncoderLayer(
            12, 3, 20, dropout=0, activation=lambda h: h * torch.sigmoid(1.702 * h), batch_first=True, norm_first=True
        ).eval()
        attention = ours.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": torch.cat([part.weight for part in parts]),
                "self_attn.in_proj_bias": torch.cat([part.bias for part in parts]),
                **{f"self_attn.out_proj.{k}": v for k, v in attention.out_proj.state_dict().items()},
                **{f"linear1.{k}": v for k, v in ours.mlp.fc1.state_dict().items()},
                **{f"linear2.{k}": v for k, v in ours.mlp.fc2.state_dict().items()},
                **{f"norm1.{k}": v for k, v in ours.layer_norm1.state_dict().items()},
                **{f"norm2.{k}": v for k, v in ours.layer_norm2.state_dict().items()},
            }
        )
        with torch.no_grad():
            x = layer(x, src_mask=mask, is_causal=True)
    assert (tower.final_layer_norm(x) - tower(ids)).abs().max() < 1e-5


def test_names():
    stored = {"text_model.final_layer_norm.bias": torch.zeros(1), "text_model.embeddings.position_ids": torch.zeros(1)}
    assert set(clip_names(stored)) == {"final_layer_norm.bias"}
