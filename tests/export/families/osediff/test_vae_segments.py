"""The VAE in segments against diffusers' own at once: widths, depths, strips, the golden set, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import nn

from lqhq.export.families.osediff import vae_layers
from lqhq.export.families.osediff.vae_segments import decode_segments, encode_segments
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.geometry import Size
from lqhq.runtime.latent_spec import Segment, check_canvases
from lqhq.runtime.scratch import ScratchFolder
from lqhq.runtime.segment_canvas import CanvasMaker, HeldCanvas
from lqhq.runtime.segment_plan import plan_segments
from lqhq.runtime.segments import Segmented, segment_role

DATA = Path(__file__).parents[3] / "data" / "osediff-tiny"
SEED = 5_004
SCALING = 0.18215
CLOSE, SAME = 1e-5, 1e-6  # to the whole network; between strip plans
WHOLE = 1 << 40
Array = NDArray[np.float32]
CONFIGS: dict[str, dict[str, Any]] = {
    "four levels": {"block_out_channels": (8, 12, 16, 16), "layers_per_block": 2, "norm_num_groups": 4},
    "two levels": {"block_out_channels": (16, 8), "layers_per_block": 1, "norm_num_groups": 8},
    "one level": {"block_out_channels": (8,), "layers_per_block": 1, "norm_num_groups": 2},
    "no attention": {
        "block_out_channels": (8, 16),
        "layers_per_block": 3,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
    },
    "no outer convolutions": {
        "block_out_channels": (8, 8),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    },
}


def network(config: dict[str, Any]) -> Any:
    levels = len(config["block_out_channels"])
    torch.manual_seed(SEED)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    vae = AutoencoderKL(**kinds, **config).eval().requires_grad_(False)
    for name, parameter in vae.named_parameters():
        if parameter.ndim == 1:  # diffusers starts with norms that do nothing and biases of zero
            parameter.add_(0.2 * torch.randn(parameter.shape))
            assert "norm" in name or "bias" in name
    return vae


class Written(NamedTuple):
    """A VAE and its segments."""

    vae: Any
    factor: int
    folder: Path
    segments: dict[str, tuple[Segment, ...]]
    sessions: dict[str, OnnxSession]


def written(vae: Any, folder: Path) -> Written:
    segments = {
        "encode": encode_segments(vae.encoder, vae.quant_conv, folder, scaling=SCALING),
        "decode": decode_segments(vae.decoder, vae.post_quant_conv, folder, scaling=SCALING),
    }
    sessions = {
        segment_role(role, index): OnnxSession(folder / one.file, threads=1)
        for role, parts in segments.items()
        for index, one in enumerate(parts)
    }
    return Written(vae, 2 ** (len(vae.config.block_out_channels) - 1), folder, segments, sessions)


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Written:
    vae = AutoencoderKL.from_pretrained(DATA / "base" / "vae", low_cpu_mem_usage=False).eval()
    return written(vae, tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module", params=CONFIGS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(network(CONFIGS[request.param]), tmp_path_factory.mktemp("vae"))


def given(case: Written, role: str, latent: Size) -> dict[str, Array]:
    draw = np.random.default_rng([SEED, *latent])
    state = draw.standard_normal((4, *latent), np.float32)
    if role == "decode":
        return {"input": state * np.float32(SCALING)}
    image = latent.scaled(case.factor)
    return {"input": draw.uniform(-1, 1, (3, *image)).astype(np.float32), "noise": state}


def whole(case: Written, role: str, inputs: dict[str, Array]) -> Array:
    with torch.no_grad():
        image = torch.from_numpy(inputs["input"])[None]
        if role == "decode":
            return case.vae.decode(image / SCALING).sample[0].numpy()
        posterior = case.vae.encode(image).latent_dist
        sample = posterior.mean + posterior.std * torch.from_numpy(inputs["noise"])
        return (sample * SCALING)[0].numpy()


def in_strips(
    case: Written,
    role: str,
    inputs: dict[str, Array],
    budget: int,
    *,
    canvas: CanvasMaker = HeldCanvas,
    segments: tuple[Segment, ...] = (),
    rows: int | None = None,
) -> Array:
    """Strips as high as `budget` bytes allow; with `rows`, of so many rows (twice as many where they are halved)."""
    parts: list[Array] = []
    segments = segments or case.segments[role]
    channels = {name: len(array) for name, array in inputs.items()}
    steps = plan_segments(segments, Size(*inputs["input"].shape[1:]), channels=channels, budget=budget)
    if rows is not None:
        steps = tuple(replace(step, height=rows * step.segment.down) for step in steps)
    run = Segmented(
        role,
        steps,
        inputs={name: lambda top, n, array=array: array[:, top : top + n] for name, array in inputs.items()},  # type: ignore[misc]
        output=lambda top, rows: parts.append(rows.copy()),
        canvas=canvas,
    )
    while (call := run.ready()) is not None:
        run.done(call, case.sessions[call.role].run(run.feed(call)))
    assert run.finished
    return np.concatenate(parts, axis=1)


def apart(found: Array, true: Array) -> float:
    assert found.shape == true.shape
    return float(np.abs(found - true).max() / max(1.0, np.abs(true).max()))


@pytest.mark.parametrize("role", ["encode", "decode"])
@pytest.mark.parametrize("latent", [Size(6, 5), Size(1, 3), Size(7, 2)])
def test_segments_are_the_whole(case: Written, role: str, latent: Size) -> None:
    inputs = given(case, role, latent)
    true = whole(case, role, inputs)
    one = in_strips(case, role, inputs, WHOLE)
    rows = in_strips(case, role, inputs, 1)
    some = in_strips(case, role, inputs, 20_000)
    assert apart(one, true) <= CLOSE
    assert apart(rows, true) <= CLOSE
    assert apart(some, true) <= CLOSE
    assert apart(rows, one) <= SAME
    assert apart(some, one) <= SAME


@pytest.mark.parametrize("role", ["encode", "decode"])
def test_golden_widths(golden: Written, role: str, tmp_path: Path) -> None:
    inputs = given(golden, role, Size(6, 5))
    one = in_strips(golden, role, inputs, WHOLE)
    some = in_strips(golden, role, inputs, 300_000)
    assert apart(one, whole(golden, role, inputs)) <= CLOSE
    assert apart(some, one) <= SAME
    np.testing.assert_array_equal(in_strips(golden, role, inputs, 300_000, canvas=ScratchFolder(tmp_path)), some)


def test_golden_values_of_the_decoder(golden: Written) -> None:
    """As the original code has them. The stored encoder's are of merged weights: see the family's own golden tests."""
    with np.load(DATA / "case-vae-decode.npz") as stored:
        latent, image = stored["latent"][0], stored["image"][0]
    assert apart(in_strips(golden, "decode", {"input": latent * np.float32(SCALING)}, 100_000), image) <= CLOSE


@pytest.mark.parametrize("role", ["encode", "decode"])
def test_a_missing_halo_is_seen(golden: Written, role: str) -> None:
    """The planted fault."""
    inputs = given(golden, role, Size(6, 5))
    true = whole(golden, role, inputs)
    for index, segment in enumerate(golden.segments[role]):
        if segment.halo:
            faulty = list(golden.segments[role])
            faulty[index] = msgspec.structs.replace(segment, halo=0)
            assert apart(in_strips(golden, role, inputs, 1, segments=tuple(faulty), rows=3), true) > 10 * CLOSE


def test_a_clipped_variance(tmp_path: Path) -> None:
    """Far out log variances are cut as the original cuts them."""
    vae = network(CONFIGS["one level"])
    vae.quant_conv.bias[4:].add_(60)
    case = written(vae, tmp_path)
    inputs = given(case, "encode", Size(3, 4))
    assert apart(in_strips(case, "encode", inputs, WHOLE), whole(case, "encode", inputs)) <= CLOSE


def test_what_is_written(golden: Written) -> None:
    """Files in order, canvases in order, plain operators, no half-written file."""
    for role, segments in golden.segments.items():
        check_canvases(role, segments)
        assert [one.file for one in segments] == [f"graphs/segments/{role}.{i:02d}.onnx" for i in range(len(segments))]
    files = {one.file for segments in golden.segments.values() for one in segments}
    assert files == {path.relative_to(golden.folder).as_posix() for path in golden.folder.rglob("*.*")}
    for file in files:
        model = onnx.load(golden.folder / file)
        assert {node.domain for node in model.graph.node} == {""}
        assert model.opset_import[0].version == 21
    assert [len(golden.segments[role]) for role in ("encode", "decode")] == [24, 32]


def test_one_batch_of_several(golden: Written) -> None:
    """N is free: strips of several images may share a run."""
    segment = golden.segments["decode"][1]
    draw = np.random.default_rng(SEED)
    feed = {"x": draw.standard_normal((2, 32, 3, 4), np.float32)}
    feed |= {name: draw.uniform(0.5, 1, (2, 32)).astype(np.float32) for name in ("mean", "rstd")}
    session = golden.sessions["decode/01"]
    both = session.run(feed)["y"]
    assert both.shape == (2, segment.channels, 3, 4)
    for at in range(2):
        alone = session.run({name: array[at : at + 1] for name, array in feed.items()})["y"]
        np.testing.assert_allclose(both[at : at + 1], alone, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda vae: setattr(vae.decoder.mid_block.resnets[0], "nonlinearity", nn.GELU()), "GELU"),
        (lambda vae: setattr(vae.decoder.mid_block.attentions[0], "heads", 2), "2 heads"),
        (lambda vae: setattr(vae.decoder, "conv_act", nn.ReLU()), "ReLU"),
        (lambda vae: setattr(vae.decoder, "conv_norm_out", nn.BatchNorm2d(8)), "BatchNorm2d"),
        (lambda vae: setattr(vae.decoder.up_blocks[0].upsamplers[0], "use_conv_transpose", True), "Upsample2D"),
    ],
)
def test_another_network_is_refused(change: Any, told: str, tmp_path: Path) -> None:
    vae = network(CONFIGS["four levels"])
    change(vae)
    with pytest.raises(CheckpointError, match=told):
        decode_segments(vae.decoder, vae.post_quant_conv, tmp_path, scaling=SCALING)


@pytest.mark.parametrize("keys", [1, 7, 13, 30])
def test_keys_in_parts(keys: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The softmax is exact whatever number of keys is looked at together: 30 in parts, in all, and with a rest."""
    monkeypatch.setattr(vae_layers, "KEYS_AT_ONCE", keys)
    vae = network(CONFIGS["one level"])
    attention = vae.decoder.mid_block.attentions[0]
    attention.to_q.weight.mul_(60)  # peaked scores, of which a softmax without its maximum overflows
    case = written(vae, tmp_path)
    inputs = given(case, "decode", Size(6, 5))
    assert apart(in_strips(case, "decode", inputs, WHOLE), whole(case, "decode", inputs)) <= CLOSE
