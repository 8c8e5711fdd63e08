"""The networks have the released sizes, and compute what the library's do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contenders import sd_networks as sd
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn

from lqhq.export.half import declared_islands
from lqhq.export.reference import reference_outputs

# The released weights' own: 865 910 724 in the UNet; of the autoencoder's 83 653 863 those of the decoder, and 20.
PARAMETERS = {"UNET": 865_910_724, "DECODER": 49_490_199}


def _module(name: str) -> nn.Module:
    with torch.device("meta"):
        return sd.Unet(sd.UNET) if name == "UNET" else sd.Decoder(sd.DECODER)


@pytest.mark.parametrize("name", PARAMETERS)
def test_full_size_is_the_released_size(name: str) -> None:
    assert sum(parameter.numel() for parameter in _module(name).parameters()) == PARAMETERS[name]


def test_every_norm_of_the_unet_is_an_island() -> None:
    """22 residual blocks of 2, 16 transformers of 1 + 3, and the last."""
    assert len(declared_islands(_module("UNET"), (nn.GroupNorm, nn.LayerNorm))) == 22 * 2 + 16 * 4 + 1


def test_the_decoder_is_the_librarys() -> None:
    """The planted fault: without its first convolution it is told apart."""
    graph = sd.decoder(sd.TINY_DECODER)
    whole = AutoencoderKL(**sd.TINY_DECODER).eval()
    missing, extra = whole.load_state_dict(graph.plain.state_dict(), strict=False)
    assert not extra
    assert all(name.startswith(("encoder.", "quant_conv.")) for name in missing)
    feed = graph.examples(np.random.default_rng(0), 2, 3, 5)
    with torch.no_grad():
        wanted = whole.decode(torch.from_numpy(feed["state"])).sample.numpy()
    assert wanted.shape == (2, 3, 24, 40)
    assert wanted.std() > 0.01
    assert np.abs(reference_outputs(graph, feed)["hq"] - wanted).max() < 1e-5
    graph.plain.post_quant_conv = nn.Identity()
    assert np.abs(reference_outputs(graph, feed)["hq"] - wanted).max() > 1e-3


def test_the_unet_heeds_all_its_inputs() -> None:
    graph = sd.unet(sd.TINY_UNET)
    feed = graph.examples(np.random.default_rng(0), 2, 8, 16)
    found = reference_outputs(graph, feed)["pred"]
    assert found.shape == feed["state"].shape
    assert np.isfinite(found).all()
    for name in graph.inputs:
        changed = feed | {name: feed[name] * np.float32(0.5)}
        assert np.abs(reference_outputs(graph, changed)["pred"] - found).max() > 1e-4


def test_weights_are_the_same_every_time() -> None:
    first, second = (sd.randomised(lambda: sd.Decoder(sd.TINY_DECODER)).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
