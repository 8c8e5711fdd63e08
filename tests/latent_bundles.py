"""A small latent bundle: every role, segments, a prompt and tags, all of it plain enough to be done again in NumPy.

`encode` blurs and halves, `denoise` blurs, `decode` doubles and blurs; one group norm each.
`runtime/test_latent_job.py` says the same in NumPy. A plugin of `conftest.py`, for every suite.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lqhq.runtime import manifest as m
from lqhq.runtime.bundle import file_records
from lqhq.runtime.latent_spec import GroupNorm
from lqhq.runtime.rules_spec import Fit, OriginalUpscale
from lqhq.runtime.schedule import Row, Schedule, Start

WIDE = 4
UNIT, SPREAD, WORDS = 0.5, 0.25, 0.1
GAIN, SHIFT = np.float32([0.1, -0.05, 0.08, 0.04]), np.float32([0.02, -0.01, 0, 0.03])
BLUR = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
INTO = np.concatenate([np.eye(3), np.full((1, 3), 1 / 3)]).astype(np.float32)
BACK = np.eye(3, WIDE, dtype=np.float32)
NORM = GroupNorm(groups=2, eps=1e-6)
LENGTH, SIDE, TOKENS = 77, 6, 714
TAGS = ("red", "green", "blue")
TOKENIZER = Path(__file__).parent / "data/osediff-tiny/base/tokenizer"
node = helper.make_node
Shapes = Mapping[str, list[Any]]


def save(path: Path, nodes: list[Any], inputs: Shapes, outputs: Shapes, **constants: Any) -> None:
    sides = [
        [
            helper.make_tensor_value_info(name, TensorProto.INT64 if name == "ids" else TensorProto.FLOAT, shape)
            for name, shape in side.items()
        ]
        for side in (inputs, outputs)
    ]
    known = {
        "blur": BLUR * np.eye(WIDE, dtype=np.float32)[:, :, None, None],
        "into": BLUR * INTO[:, :, None, None],
        "back": BLUR * BACK[:, :, None, None],
        "gain": GAIN,
        "shift": SHIFT,
        "gain_nchw": GAIN[:, None, None],
        "shift_nchw": SHIFT[:, None, None],
        "twice": np.float32([1, 1, 2, 2]),
        "unit": np.float32(UNIT),
        "spread": np.float32(SPREAD),
        "sides": np.int64([2, 3]),
        **constants,
    }
    used = {name for one in nodes for name in one.input}
    fixed = [numpy_helper.from_array(np.asarray(value), name) for name, value in known.items() if name in used]
    graph = helper.make_graph(nodes, path.stem, *sides, fixed)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, path)


def conv(x: str, y: str, weight: str = "blur") -> Any:
    return node("Conv", [x, weight], [y], pads=[1, 1, 1, 1])


def halve(x: str, y: str) -> Any:
    return node("AveragePool", [x], [y], kernel_shape=[2, 2], strides=[2, 2])


def double(x: str, y: str) -> Any:
    return node(
        "Resize",
        [x, "", "twice"],
        [y],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def whole_norm(x: str, y: str) -> Any:
    return node("GroupNormalization", [x, "gain", "shift"], [y], num_groups=NORM.groups, epsilon=NORM.eps)


def given_norm(x: str, y: str) -> list[Any]:
    """By the statistics that a segment is given."""
    return [
        node("Unsqueeze", ["mean", "sides"], ["mean_nchw"]),
        node("Unsqueeze", ["rstd", "sides"], ["rstd_nchw"]),
        node("Sub", [x, "mean_nchw"], ["centred"]),
        node("Mul", ["centred", "rstd_nchw"], ["unitary"]),
        node("Mul", ["unitary", "gain_nchw"], ["gained"]),
        node("Add", ["gained", "shift_nchw"], [y]),
    ]


def noised(x: str, y: str) -> list[Any]:
    return [
        node("Mul", ["noise" if y == "state" else "skip", "spread"], ["spread_noise"]),
        node("Add", [x, "spread_noise"], ["drawn"]),
        node("Mul", ["drawn", "unit"], [y]),
    ]


def encoder(folder: Path, levels: int) -> tuple[m.Segment, ...]:
    """Write `encode` and its segments."""
    high = 2**levels
    nodes = [conv("lq", "first", "into"), whole_norm("first", "normed"), conv("normed", "bent")]
    nodes += [node("Add", ["first", "bent"], ["mixed"]), halve("mixed", "small1")]
    nodes += [halve(f"small{level}", f"small{level + 1}") for level in range(1, levels)]
    state = ["N", WIDE, "H", "W"]
    save(
        folder / "graphs/encode.fp32.onnx",
        [*nodes, *noised(f"small{levels}", "state")],
        {"lq": ["N", 3, f"{high}H", f"{high}W"], "noise": state},
        {"state": state},
    )
    normed = {"x": state, "mean": ["N", WIDE], "rstd": ["N", WIDE], "skip": state}
    half = {"y": ["N", WIDE, "h", "w"]}
    bent = [*given_norm("x", "normed"), conv("normed", "bent"), node("Add", ["skip", "bent"], ["mixed"])]
    parts: list[tuple[dict[str, Any], list[Any], Shapes, Shapes]] = [
        ({"x": "input", "y": "first", "halo": 1}, [conv("x", "y", "into")], {"x": ["N", 3, "H", "W"]}, {"y": state}),
        (
            {"x": "first", "skip": "first", "y": "small1", "halo": 2, "down": 2, "norm": NORM},
            [*bent, halve("mixed", "y")],
            normed,
            half,
        ),
        *(
            ({"x": f"small{level}", "y": f"small{level + 1}", "down": 2}, [halve("x", "y")], {"x": state}, half)
            for level in range(1, levels)
        ),
        (
            {"x": f"small{levels}", "skip": "noise", "y": "output"},
            noised("x", "y"),
            {"x": state, "skip": state},
            {"y": state},
        ),
    ]
    return segments(folder, "encode", parts)


def decoder(folder: Path, levels: int) -> tuple[m.Segment, ...]:
    """Write `decode` and its segments."""
    high = 2**levels
    state = ["N", WIDE, "H", "W"]
    nodes = [node("Div", ["state", "unit"], ["scaled"]), conv("scaled", "first"), whole_norm("first", "normed")]
    nodes += [conv("normed", "bent"), node("Add", ["first", "bent"], ["large0"])]
    parts: list[tuple[dict[str, Any], list[Any], Shapes, Shapes]] = [
        (
            {"x": "input", "y": "first", "halo": 1},
            [node("Div", ["x", "unit"], ["scaled"]), conv("scaled", "y")],
            {"x": state},
            {"y": state},
        ),
        (
            {"x": "first", "skip": "first", "y": "large0", "halo": 1, "norm": NORM},
            [*given_norm("x", "normed"), conv("normed", "bent"), node("Add", ["skip", "bent"], ["y"])],
            {"x": state, "mean": ["N", WIDE], "rstd": ["N", WIDE], "skip": state},
            {"y": state},
        ),
    ]
    for level in range(levels):
        last = level + 1 == levels
        weight, wide = ("back", 3) if last else ("blur", WIDE)
        result = "hq" if last else f"large{level + 1}"
        nodes += [double(f"large{level}", f"doubled{level}"), conv(f"doubled{level}", result, weight)]
        fields = {"x": f"large{level}", "y": "output" if last else result, "halo": 1, "up": 2, "channels": wide}
        parts.append((fields, [double("x", "doubled"), conv("doubled", "y", weight)], {"x": state},
                      {"y": ["N", wide, "h", "w"]}))  # fmt: skip
    save(folder / "graphs/decode.fp32.onnx", nodes, {"state": state}, {"hq": ["N", 3, f"{high}H", f"{high}W"]})
    return segments(folder, "decode", parts)


def segments(folder: Path, role: str, parts: list[Any]) -> tuple[m.Segment, ...]:
    found = []
    for index, (fields, nodes, inputs, outputs) in enumerate(parts):
        file = f"segments/{role}.{index:02d}.onnx"
        save(folder / file, nodes, inputs, outputs)
        found.append(m.Segment(**{"file": file, "channels": WIDE, **fields}))
    return tuple(found)


def denoiser(folder: Path, *, worded: bool) -> None:
    state = ["N", WIDE, "H", "W"]
    nodes = [conv("state", "blurred" if worded else "pred")]
    if worded:
        nodes += [
            node("ReduceMean", ["cond", "second"], ["meant"], keepdims=0),
            node("Mul", ["meant", "words"], ["weighed"]),
            node("Unsqueeze", ["weighed", "sides"], ["weighed_nchw"]),
            node("Add", ["blurred", "weighed_nchw"], ["pred"]),
        ]
    save(
        folder / "graphs/denoise.fp32.onnx",
        nodes,
        {"state": state, **({"cond": ["N", LENGTH, WIDE]} if worded else {})},
        {"pred": state},
        second=np.int64([1]),
        words=np.float32(WORDS),
    )


def wording(folder: Path) -> None:
    """`text` looks ids up in a table of sines, `tag` tells the colours that are light on average."""
    table = np.sin(np.outer(np.arange(1, TOKENS + 1), np.arange(1, WIDE + 1)) * 0.37).astype(np.float32)
    save(
        folder / "graphs/text.fp32.onnx",
        [node("Gather", ["table", "ids"], ["cond"])],
        {"ids": ["N", LENGTH]},
        {"cond": ["N", LENGTH, WIDE]},
        table=table,
    )
    save(
        folder / "graphs/tag.fp32.onnx",
        [
            node("ReduceMean", ["image", "sides"], ["light"], keepdims=0),
            node("Sub", ["light", "half"], ["lighter"]),
            node("Mul", ["lighter", "steep"], ["logits"]),
        ],
        {"image": ["N", 3, SIDE, SIDE]},
        {"logits": ["N", len(TAGS)]},
        half=np.float32(0.5),
        steep=np.float32(20),
    )


def float_tensor(*shape: Any, per: Any = "tile") -> m.Tensor:
    return m.Tensor(dtype="float32", shape=shape, per=per)


def latent_graphs(factor: int, *, worded: bool, tagged: bool) -> dict[str, Any]:
    state, image = float_tensor("N", WIDE, "H", "W"), float_tensor("N", 3, f"{factor}H", f"{factor}W")
    cond = float_tensor("N", LENGTH, WIDE, per="image")
    sides: dict[str, Any] = {
        "encode": ({"lq": image, "noise": state}, {"state": state}),
        "denoise": ({"state": state, **({"cond": cond} if worded else {})}, {"pred": state}),
        "decode": ({"state": state}, {"hq": image}),
    }
    if worded:
        sides["text"] = ({"ids": m.Tensor(dtype="int64", shape=("N", LENGTH), per="image")}, {"cond": cond})
    if tagged:
        sides["tag"] = ({"image": float_tensor("N", 3, SIDE, SIDE)}, {"logits": float_tensor("N", len(TAGS))})
    memory = {"encode": 4e3, "denoise": 2e3, "decode": 8e3}
    return {
        role: {
            "fp32": m.Graph(
                file=f"graphs/{role}.fp32.onnx",
                inputs=inputs,
                outputs=outputs,
                pred="x0" if role == "denoise" else None,
                memory=m.Memory(fixed=1 << 20, per_pixel=memory.get(role, 0.0)),
            )
        }
        for role, (inputs, outputs) in sides.items()
    }


def latent_fields(factor: int, scale: int) -> dict[str, Any]:
    """The fields of a manifest that do not depend on its graphs. Tiles of 16 latents with an overlap of 4."""
    resize = () if scale == 1 else (m.Resize(filter="bicubic", factor=scale),)
    return {
        "name": "latent",
        "family": "latent",
        "task": "super-resolution" if scale > 1 else "restoration",
        "scale": scale,
        "pixels": m.Pixels(range=(-1.0, 1.0), order="rgb"),
        "schedules": {"one-step": Schedule(start=Start(), rows=(Row(t=999.0, c_state=0.0, c=(1.0,)),))},
        "default_schedule": "one-step",
        "prepare": (m.EnlargeSmall(side=8), *resize, m.Pad(mode="reflect", multiple=factor, smallest=4 * factor)),
        "finish": (m.Crop(), m.ColourStep(kind="adain"), m.Quantize(mode="round")),
        "original": m.OriginalRules(small=8, steps=(OriginalUpscale(factor=scale), Fit(multiple=factor))),
        "tiles": m.TileHints(
            multiple=factor, smallest=4 * factor, preferred=16 * factor, overlap=4 * factor, blend="each"
        ),
        "latent": m.Latent(channels=WIDE, factor=factor),
        "licences": (m.Licence(part="base", licence="unknown"),),
        "provenance": m.Provenance(sources=(), format="test", versions={}),
        "parity": (),
    }


@pytest.fixture(scope="session")
def latent_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, bool], tuple[Path, dict[str, Any]]]:
    """Graphs and segments by factor and whether there is a prompt, each written once; and the manifest's segments."""
    made: dict[tuple[int, bool], tuple[Path, dict[str, Any]]] = {}

    def files(factor: int, worded: bool) -> tuple[Path, dict[str, Any]]:
        if (factor, worded) not in made:
            folder = tmp_path_factory.mktemp("latent")
            levels = factor.bit_length() - 1
            parts = {"encode": encoder(folder, levels), "decode": decoder(folder, levels)}
            denoiser(folder, worded=worded)
            if worded:
                wording(folder)
            made[factor, worded] = folder, parts
        return made[factor, worded]

    return files


@pytest.fixture(scope="session")
def latent_prompt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, m.Prompt]:
    """The folder of a tokenizer's file, and how it is used."""
    from tokenizers import Tokenizer

    from lqhq.export.families.osediff.tokenizer import write_tokenizer

    folder = tmp_path_factory.mktemp("prompt")
    found = write_tokenizer(TOKENIZER, folder / "tokenizer.json", rows=TOKENS)
    empty = tuple(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(", ,").ids)
    template = "{tags}, {words},"
    return folder, m.Prompt(tokenizer="assets/tokenizer.json", length=found.length, template=template, empty=empty)


@pytest.fixture
def latent_bundle(
    tmp_path: Path, latent_files: Callable[..., tuple[Path, dict[str, Any]]], request: pytest.FixtureRequest
) -> Callable[..., Path]:
    """A function that writes a latent bundle and returns its folder.

    `latent_bundle(folder="latent", factor=2, scale=2, worded=False, tagged=False, segmented=True, **fields)`: `fields`
    replace fields of the manifest, unchecked. Without `worded` the prompt "a photo" is baked in, which does nothing.
    """

    def build(
        folder: str = "latent",
        *,
        factor: int = 2,
        scale: int = 2,
        worded: bool = False,
        tagged: bool = False,
        segmented: bool = True,
        **fields: Any,
    ) -> Path:
        source, parts = latent_files(factor, worded)
        root = tmp_path / folder
        shutil.copytree(source, root)
        if not tagged:
            (root / "graphs/tag.fp32.onnx").unlink(missing_ok=True)
        if not segmented:
            shutil.rmtree(root / "segments")
        (root / "assets").mkdir()
        own: dict[str, Any] = {"segments": parts if segmented else {}}
        if worded:
            tokenizer, own["prompt"] = request.getfixturevalue("latent_prompt")
            shutil.copy(tokenizer / "tokenizer.json", root / "assets")
        else:
            own["baked_prompt"] = "a photo"
        if tagged:
            (root / "assets/tags.txt").write_text("\n".join(TAGS))
            (root / "assets/thresholds.txt").write_text("\n".join(["0.5"] * len(TAGS)))
            own["tagger"] = m.Tagger(side=SIDE, names="assets/tags.txt", thresholds="assets/thresholds.txt")
        whole = {
            "format": "lqhq-bundle",
            "version": m.VERSION,
            **latent_fields(factor, scale),
            **own,
            "graphs": latent_graphs(factor, worded=worded, tagged=tagged),
            "files": file_records(root),
            **fields,
        }
        (root / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
        return root

    return build
