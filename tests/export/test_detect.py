"""Exactly one format claims each checkpoint."""

from __future__ import annotations

import pytest
import torch

from lqhq.export.checkpoint import open_checkpoint
from lqhq.export.detect import detect
from lqhq.export.families import FAMILIES
from lqhq.export.family import Format, Weights
from lqhq.export.state_dict import select_prefix
from lqhq.runtime.errors import CheckpointError, OptionError

INDI = FAMILIES[0]


@pytest.fixture
def samples(goldens, film) -> dict[str, Weights]:
    """One checkpoint per declared format, its names cleaned."""
    found = {}
    for golden in goldens.values():
        opened = open_checkpoint(golden.path)
        prefix = golden.told().get("key_prefix")
        tensors = select_prefix("w", opened.tensors, prefix, []) if prefix else opened.tensors
        found[golden.form] = Weights(where=golden.form, tensors=tensors, config=opened.config)
    own = open_checkpoint(film())
    found["lqhq"] = Weights(where="film", tensors=own.tensors, config=own.config)
    return found


def test_every_declared_format_has_a_sample(samples):
    assert set(samples) == {form.name for form in INDI.formats}


def test_each_sample_is_claimed_by_its_own_format_alone(samples):
    claimed = {name: [form.name for form in INDI.formats if form.claims(weights)] for name, weights in samples.items()}
    assert claimed == {name: [name] for name in samples}
    bare = {
        name: detect(INDI, Weights(where="", tensors=weights.tensors, config={})).name
        for name, weights in samples.items()
    }
    assert bare == {name: name for name in samples}  # the names alone tell


def test_nobody_claims_a_stranger():
    weights = Weights(where="x.pt", tensors={"conv.weight": torch.ones(1)}, config={"_class_name": "AutoencoderKL"})
    with pytest.raises(CheckpointError, match=r"conv\.weight.*AutoencoderKL, claimed by no format"):
        detect(INDI, weights)


def test_a_wrapper_is_recognised_and_its_prefix_asked_for(goldens):
    tensors = open_checkpoint(goldens["f_sr3"].path).tensors
    with pytest.raises(CheckpointError, match=r'"key_prefix" into --config: "denoise_fn\." \(sr3\)'):
        detect(INDI, Weights(where="x", tensors=tensors, config={}))


def test_a_joint_model_is_refused_until_one_of_the_two_is_chosen(goldens):
    inner = open_checkpoint(goldens["f_sr3"].path).tensors
    joint = {f"{side}.{name}": tensor for side in ("indi1", "indi2") for name, tensor in inner.items()}
    with pytest.raises(CheckpointError, match=r'"indi1\.denoise_fn\." \(sr3\) or "indi2\.denoise_fn\." \(sr3\)'):
        detect(INDI, Weights(where="x", tensors=joint | {"alpha_param": torch.ones(1)}, config={}))


def test_two_claimants_are_asked_about(samples):
    greedy = Format(name="greedy", about="", claims=lambda weights: True, load=INDI.formats[0].load)
    twice = type(INDI)(**{**{key: getattr(INDI, key) for key in INDI.__slots__}, "formats": (*INDI.formats, greedy)})
    with pytest.raises(CheckpointError, match=r"claimed by guided, greedy.*--format"):
        detect(twice, samples["guided"])
    assert detect(twice, samples["guided"], "greedy") is greedy


def test_an_unknown_format_is_an_option_error(samples):
    with pytest.raises(OptionError, match="diffusers or guided or sr3 or indiunet or lqhq"):
        detect(INDI, samples["guided"], "onnx")
