"""The VAE of Stable Diffusion as graphs: `encode` and `decode` whole, and both as segments; from a bundle, or made.

python -m contenders.vae_parts FOLDER SIZE     makes them with random weights, FULL or TINY, in a process of its own
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import msgspec
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn

from contenders.sd_networks import DECODER, TINY_DECODER, randomised
from lqhq.export.families.osediff.vae import Decode, Encode
from lqhq.export.families.osediff.vae_segments import decode_segments, encode_segments
from lqhq.export.family import RoleGraph
from lqhq.export.trace import trace
from lqhq.runtime import manifest as m
from lqhq.runtime.bundle import read_manifest

__all__ = ["SCALING", "SIZES", "VaeParts", "of_bundle", "read_parts", "write_parts"]

SCALING = 0.18215
SIZES = {"FULL": DECODER, "TINY": TINY_DECODER | {"layers_per_block": 1}}
PARTS = "parts.json"
TRACED = (16, 24)
STATE = m.Tensor(dtype="float32", shape=("N", 4, "H", "W"))
IMAGE = m.Tensor(dtype="float32", shape=("N", 3, "8H", "8W"))


class VaeParts(msgspec.Struct, frozen=True, kw_only=True):
    """Files by role, below `folder`."""

    folder: str
    whole: dict[m.Role, str]
    segments: dict[m.Role, tuple[m.Segment, ...]]


def of_bundle(bundle: Path) -> VaeParts:
    """Those of a bundle that has segments. Raises `BundleError`, or `SystemExit` where it has none."""
    manifest = read_manifest(bundle)
    if set(manifest.segments) != {"encode", "decode"}:
        raise SystemExit(f"{bundle.name}: found segments of {sorted(manifest.segments)}; expected encode and decode")
    whole = {role: manifest.graphs[role]["fp32"].file for role in manifest.segments}
    return VaeParts(folder=str(bundle), whole=whole, segments=manifest.segments)


def read_parts(file: Path) -> VaeParts:
    return msgspec.json.decode(file.read_bytes(), type=VaeParts)


def write_parts(folder: Path, config: dict[str, Any]) -> Path:
    """Make them of random weights; returns the file that lists them."""
    vae = cast(Any, randomised(lambda: AutoencoderKL(**config)))
    whole: dict[m.Role, str] = {}
    for role, module, inputs, outputs in (
        ("encode", Encode(vae, SCALING), {"lq": IMAGE, "noise": STATE}, {"state": STATE}),
        ("decode", Decode(vae, SCALING), {"state": STATE}, {"hq": IMAGE}),
    ):
        graph = _graph(cast(m.Role, role), module.eval(), inputs, outputs)
        whole[graph.role] = f"{role}.onnx"
        trace(graph, folder / f"{role}.onnx")
    segments: dict[m.Role, tuple[m.Segment, ...]] = {
        "encode": encode_segments(vae.encoder, vae.quant_conv, folder, scaling=SCALING),
        "decode": decode_segments(vae.decoder, vae.post_quant_conv, folder, scaling=SCALING),
    }
    file = folder / PARTS
    file.write_bytes(msgspec.json.encode(VaeParts(folder=str(folder), whole=whole, segments=segments)))
    return file


def _graph(role: m.Role, module: nn.Module, inputs: dict[str, m.Tensor], outputs: dict[str, m.Tensor]) -> RoleGraph:
    def examples(draw: Any, n: int, height: int, width: int) -> dict[str, Any]:
        sides = {"lq": (3, 8 * height, 8 * width)}
        shapes = {name: (n, *sides.get(name, (4, height, width))) for name in inputs}
        return {name: draw.standard_normal(shape, dtype="float32") for name, shape in shapes.items()}

    return RoleGraph(
        role=role,
        module=module,
        plain=module,
        inputs=inputs,
        outputs=outputs,
        examples=examples,
        traced=TRACED,
        smallest=2,
        islands=(nn.GroupNorm,),
    )


if __name__ == "__main__":
    write_parts(Path(sys.argv[1]), SIZES[sys.argv[2]])
