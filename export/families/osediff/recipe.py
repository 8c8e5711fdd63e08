"""How a loaded OSEDiff becomes a bundle: which roles, by which rules, in which tiles, under which licences."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lqhq.export.families.osediff import oracle
from lqhq.export.families.osediff.graphs import graphs
from lqhq.export.families.osediff.loaded import TOKENIZER, Loaded, load
from lqhq.export.families.osediff.ram import tag_graph
from lqhq.export.families.osediff.tag_files import write_tag_files
from lqhq.export.families.osediff.tokenizer import write_tokenizer
from lqhq.export.families.osediff.vae_segments import decode_segments, encode_segments
from lqhq.export.family import Arrays, Joined, Network, Perturb, Recipe, Written
from lqhq.export.settings import JOINED, Settings, foreign_setting
from lqhq.export.tile_hints import tile_hints
from lqhq.runtime import manifest as m
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Size, round_up
from lqhq.runtime.rules_spec import Fit, OriginalUpscale
from lqhq.runtime.schedule import Row, Schedule, Start

__all__ = ["joined", "recipe"]

FORMAT = "osediff"
SCALE, PROCESS_SIZE = 4, 512  # the original program's own
# In latents, the original program's: a tile of 768 pixels of the crops of 512 that it was trained on, a third shared.
PREFERRED, OVERLAP, TRAINED = 96, 32, 64
DEVIATIONS = (
    "attention and group norms of the UNet: a tile sees itself, not the image; neighbours are blended as latents",
)
OWN = ("name", "task", "tiles", "licences", "scale", *JOINED)  # settings that are not in the checkpoints
NAMES, THRESHOLDS = "assets/tags.txt", "assets/tag_thresholds.txt"
# A DDPM step at t = 999 to x0, which the graph holds: the prediction becomes the state.
ONE_STEP = Schedule(start=Start(), rows=(Row(t=999.0, p=0.0, q=1.0, c_state=0.0, c=(1.0,)),))
LICENCES = {
    "base": m.Licence(
        part="base",
        licence="CreativeML Open RAIL++-M, as Stable Diffusion 2.1 was released",
        attribution="Stability AI. Its use restrictions (attachment A) hold for weights made of it, and so for this "
        "bundle; pass them on with it. The original repository was withdrawn in 2025: that ends no licence that was "
        "granted, but check that your copy is the released one.",
    ),
    "adapter": m.Licence(
        part="adapter", licence="Apache-2.0, as OSEDiff's own was released", attribution="Wu et al., cswry/OSEDiff"
    ),
    "tagger": m.Licence(
        part="tagger",
        licence="Apache-2.0, as RAM's and DAPE's were released",
        attribution="Zhang et al., recognize-anything; Wu et al., SeeSR",
    ),
}


def joined(path: Path, settings: Settings) -> Joined:
    """The network of an adapter and its base. Raises `CheckpointError` or `OptionError`."""
    loaded = load(path, settings).eval()
    factor = loaded.model.factor
    network = Network(
        module=loaded,
        channels=3,
        multiple=factor,
        smallest=factor,
        preferred=PREFERRED * factor,
        overlap=OVERLAP * factor,
        deviations=DEVIATIONS,
        notes=loaded.notes,
    )
    return Joined(network=network, format=FORMAT, sources=loaded.sources)


def recipe(network: Network, settings: Settings) -> Recipe:
    """Raises `OptionError` for settings that OSEDiff does not take, or that do not fit."""
    for key in Settings.__struct_fields__:
        if key not in OWN and getattr(settings, key) is not None:
            raise foreign_setting("osediff", key)
    loaded = network.module
    assert isinstance(loaded, Loaded)  # this family makes nothing else
    model, scale = loaded.model, settings.scale or SCALE
    baked = loaded.cond if loaded.text is not None else None

    def restore(prepared: Tensor, name: str | None, noise: Arrays, perturb: Perturb) -> Tensor:
        return oracle.restore(model, prepared, loaded.cond, torch.from_numpy(noise["posterior"])[None], perturb)

    def streams(name: str | None, size: Size) -> dict[str, tuple[int, ...]]:
        sides = (round_up(side, model.factor) // model.factor for side in size)
        return {"posterior": (model.channels, *sides)}

    # As the original's scripts: photos keep their colours, faces (which are not enlarged) are left as they come.
    colour = (m.ColourStep(kind="adain"),) if scale > 1 else ()
    small = _small(settings, scale)
    return Recipe(
        graphs=(*graphs(model, baked), *([] if loaded.ram is None else [tag_graph(loaded.ram)])),
        task=settings.task or ("super-resolution" if scale > 1 else "restoration"),
        scale=scale,
        pixels=m.Pixels(range=(-1.0, 1.0), order="rgb"),
        prepare=(
            m.EnlargeSmall(side=small),
            *((m.Resize(filter="bicubic", factor=scale),) if scale > 1 else ()),
            m.Pad(mode="reflect", multiple=model.factor, smallest=model.factor),
        ),
        finish=(m.Crop(), *colour, m.Quantize(mode="round")),
        tiles=_tiles(network, settings),
        restore=restore,
        streams=streams,
        schedules={"one-step": ONE_STEP},
        default_schedule="one-step",
        licences=tuple(LICENCES[part] for part in ("base", "adapter", *(["tagger"] if loaded.ram else []))),
        latent=m.Latent(channels=model.channels, factor=model.factor),
        original=m.OriginalRules(small=small, steps=(OriginalUpscale(factor=scale), Fit(multiple=8))),
        baked_prompt=loaded.text,
        write=lambda folder: _write(loaded, folder),
    )


def _small(settings: Settings, scale: int) -> int:
    process = settings.process_size or PROCESS_SIZE
    if process < scale:
        raise OptionError(
            "--process-size", found=str(process), expected=f"at least the scale, {scale}", mend="Leave it out: 512."
        )
    return process // scale


def _tiles(network: Network, settings: Settings) -> m.TileHints:
    own = settings.tiles
    if own is not None and own.blend == "final":
        raise OptionError(
            "tiles.blend", found="'final'", expected="'each': latents are blended as latents", mend="Leave it out."
        )
    return tile_hints(
        own,
        multiple=network.multiple,
        smallest=network.smallest,
        preferred=network.preferred,
        overlap=network.overlap,
        reach=None,
        deviations=network.deviations,
        blend="each",
    )


def _write(loaded: Loaded, folder: Path) -> Written:
    """The VAE's segments; the tokenizer, where prompts are read; the tagger's lists."""
    vae, scaling = cast(Any, loaded.model.vae), loaded.model.scaling
    (folder / "assets").mkdir(exist_ok=True)
    segments: dict[m.Role, tuple[m.Segment, ...]] = {
        "encode": encode_segments(vae.encoder, vae.quant_conv, folder, scaling=scaling),
        "decode": decode_segments(vae.decoder, vae.post_quant_conv, folder, scaling=scaling),
    }
    if loaded.text is not None:
        return Written(segments=segments)
    write_tokenizer(loaded.model.tokenizer, folder / TOKENIZER, rows=loaded.model.text.shape.vocabulary)
    if loaded.tagging is None:
        return Written(segments=segments, prompt=loaded.prompt)
    write_tag_files(loaded.tagging.lists, folder / NAMES, folder / THRESHOLDS)
    tagger = m.Tagger(side=loaded.tagging.ram.side, names=NAMES, thresholds=THRESHOLDS)
    return Written(segments=segments, prompt=loaded.prompt, tagger=tagger)
