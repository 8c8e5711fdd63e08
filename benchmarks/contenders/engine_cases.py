"""The networks at full size whose engines are built: which graph, in which precision, for which shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from contenders.diffir_weights import TINY, X4, Described, network
from contenders.sd_networks import DECODER, TINY_DECODER, TINY_UNET, UNET, decoder, unet
from lqhq.export.families.diffir.graphs import graphs
from lqhq.export.family import RoleGraph
from lqhq.runtime.precision import Precision

__all__ = ["CASES", "QUICK", "TARGETS", "EngineCase"]

TARGETS = ("sm86", "sm89", "sm120")  # in one file: RTX 30, 40 and 50
# What `lqhq engines build` takes for a x4 bundle by default: the preferred tile in batches, then all smaller ones.
TILES, VECTORS = ("256x256@1-4", "8-256x8-256@1"), ("1x1@1-4",)
LATENTS = ("64x64@1", "32-64x32-64@1")  # 512x512 pixels, then 256 to 512


class EngineCase(NamedTuple):
    """`graph()` makes the network, float32; `profiles` are as the command line writes them."""

    title: str
    graph: Callable[[], RoleGraph]
    precision: Precision
    profiles: tuple[str, ...]


def _diffir(described: Described, role: str) -> RoleGraph:
    (graph,) = (one for one in graphs(network(described), 8 * described.shape.fold) if one.role == role)
    return graph


CASES: Mapping[str, EngineCase] = MappingProxyType(
    {
        "diffir-reduce": EngineCase("DiffIR x4 `reduce`", partial(_diffir, X4, "reduce"), "fp16", TILES),
        "diffir-encode": EngineCase("DiffIR x4 `encode`", partial(_diffir, X4, "encode"), "fp16", VECTORS),
        "diffir-decode": EngineCase("DiffIR x4 `decode`", partial(_diffir, X4, "decode"), "fp16", TILES),
        "diffir-decode-fp32": EngineCase("DiffIR x4 `decode`", partial(_diffir, X4, "decode"), "fp32", TILES),
        "vae-decoder": EngineCase("SD 2.1 VAE decoder", partial(decoder, DECODER), "fp16", LATENTS),
        "vae-decoder-fp32": EngineCase("SD 2.1 VAE decoder", partial(decoder, DECODER), "fp32", LATENTS),
        "unet": EngineCase("SD 2.1 UNet", partial(unet, UNET), "fp16", LATENTS),
    }
)
QUICK: Mapping[str, EngineCase] = MappingProxyType(
    {
        "tiny-diffir-decode": EngineCase(
            "DiffIR, tiny, `decode`", partial(_diffir, TINY, "decode"), "fp16", ("32x32",)
        ),
        "tiny-vae-decoder": EngineCase("VAE decoder, tiny", partial(decoder, TINY_DECODER), "fp16", ("16x16",)),
        "tiny-unet": EngineCase("UNet, tiny", partial(unet, TINY_UNET), "fp16", ("16x16",)),
    }
)
