"""A bundle whose graph gives back what it gets: what it takes to serve is the server's own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
from measuring.scene import scene
from onnx import TensorProto, helper

from lqhq.runtime import manifest as m
from lqhq.runtime.schedule import Row, Schedule, Start

__all__ = ["write_identity"]

HERE = Path(__file__)
AXES = ("N", 3, "H", "W")
SIDES = (12, 20)  # of the golden
BOUND = 2e-5  # the least that a bundle may ask for


def write_identity(folder: Path) -> Path:
    """Write it into the new folder `folder`: one step, scale 1, no padding; 8-bit pixels come back as they were."""
    (folder / "graphs").mkdir(parents=True)
    (folder / "goldens").mkdir()
    _write_graph(folder / "graphs/denoise.fp32.onnx")
    _write_goldens(folder / "goldens")
    manifest = {"format": "lqhq-bundle", "version": m.VERSION, **_fields(), "files": _records(folder)}
    (folder / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return folder


def _write_graph(path: Path) -> None:
    image, t = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name, axes in (("state", AXES), ("t", ("N",)))
    )
    pred = helper.make_tensor_value_info("pred", TensorProto.FLOAT, AXES)
    graph = helper.make_graph([helper.make_node("Identity", ["state"], ["pred"])], "identity", [image, t], [pred])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


def _write_goldens(folder: Path) -> None:
    pixels = scene(*SIDES)
    state = np.ascontiguousarray((pixels / np.float32(127.5) - 1).transpose(2, 0, 1)[None], np.float32)
    arrays = {"state": state, "t": np.ones(1, np.float32), "pred": state, "bound": np.float64(BOUND)}
    np.savez(folder / "denoise.npz", **{f"scene.{name}": array for name, array in arrays.items()})
    image = {"image": pixels, "hq": pixels, "changed": np.float64(0), "schedule": np.str_("fast")}
    np.savez(folder / "image.npz", **image)


def _fields() -> dict[str, object]:
    image = m.Tensor(dtype="float32", shape=AXES)
    t = m.Tensor(dtype="float32", shape=("N",), per="sample")
    graph = m.Graph(
        file="graphs/denoise.fp32.onnx",
        inputs={"state": image, "t": t},
        outputs={"pred": image},
        pred="x0",
        memory=m.Memory(fixed=1 << 20, per_pixel=48.0),  # state and pred, and as much again for copies
    )
    parity = m.ParityRecord(
        what="denoise",
        precision="fp32",
        cases=1,
        max_abs=0.0,
        p99_9=0.0,
        psnr=None,
        ssim=1.0,
        nan_count=0,
        tolerance=BOUND,
        passed=True,
    )
    step = Schedule(start=Start(), rows=(Row(t=1.0, c_state=0.0, c=(1.0,), sigma=0.0),), about="the image itself")
    return {
        "name": "identity",
        "family": "indi",
        "task": "restoration",
        "scale": 1,
        "pixels": m.Pixels(range=(-1.0, 1.0), order="rgb"),
        "graphs": {"denoise": {"fp32": graph}},
        "schedules": {"fast": step},
        "default_schedule": "fast",
        "prepare": (m.Pad(mode="reflect", multiple=1, smallest=1),),
        "finish": (m.Crop(), m.Quantize(mode="round")),
        "tiles": m.TileHints(multiple=1, smallest=1, preferred=1024, overlap=0, blend="final"),
        "licences": (m.Licence(part="base", licence="CC0-1.0", attribution="one node"),),
        "provenance": m.Provenance(
            sources=(m.SourceFile(name=HERE.name, sha256=_digest(HERE), bytes=_size(HERE)),),
            format="onnx",
            versions={"onnx": onnx.__version__},
        ),
        "parity": (parity,),
    }


def _records(folder: Path) -> dict[str, m.FileRecord]:
    return {
        path.relative_to(folder).as_posix(): m.FileRecord(sha256=_digest(path), bytes=_size(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size
