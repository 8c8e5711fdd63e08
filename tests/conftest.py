"""Fixtures for every suite: a tiny bundle that is valid, cheap to make and needs no torch."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lqhq.runtime import manifest as m
from lqhq.runtime.schedule import Row, Schedule, Start

pytest_plugins = ["tests.latent_bundles"]

# A shell that starts this in its background has SIGINT ignored, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Over real sockets, between processes and against clocks: a machine that is busy elsewhere may make one of these fail.
# Such a test is run once more, and the summary counts it ("rerun"); what fails twice fails.
BUSY = tuple(Path(__file__).parent / name for name in ("benchmarks", "server", "test_examples.py", "tools/cli"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(place) for place in BUSY):
            item.add_marker(pytest.mark.flaky(reruns=1))


BLUR = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
NOISY_EPS = 0.1  # ten times the usual 0.01, so that a lost noise stream shows in 8 bits


def tiny_graph(path: Path, *, external: bool) -> None:
    """Write `pred = blur3x3(state) * (0.5 + 0.5 * t)`: zero padding of 1, so tile edges differ by 1 px."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.ascontiguousarray(np.broadcast_to(BLUR, (3, 1, 3, 3)))
    constants = {"weight": weight, "half": np.float32([0.5]), "axes": np.int64([1, 2, 3])}
    nodes = [
        helper.make_node("Conv", ["state", "weight"], ["blurred"], pads=[1, 1, 1, 1], group=3),
        helper.make_node("Mul", ["t", "half"], ["half_t"]),
        helper.make_node("Add", ["half_t", "half"], ["gain"]),
        helper.make_node("Unsqueeze", ["gain", "axes"], ["gain_nchw"]),
        helper.make_node("Mul", ["blurred", "gain_nchw"], ["pred"]),
    ]
    image = ["N", 3, "H", "W"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("state", TensorProto.FLOAT, image),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N"]),
        ],
        [helper.make_tensor_value_info("pred", TensorProto.FLOAT, image)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    # convert_attribute stays off and the threshold is 100 bytes: only the 108 byte weight goes outside.
    onnx.save_model(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=100)


def indi_rows(steps: int, eps: float) -> tuple[Row, ...]:
    """InDI from t = 1 in equal steps; Brownian noise eps * sqrt(s * (t - s) / t) on the way to s."""
    rows = []
    for k in range(steps, 0, -1):
        t, s = k / steps, (k - 1) / steps
        rows.append(Row(t=t, c_state=1 - 1 / k, c=(1 / k,), sigma=eps * (s * (t - s) / t) ** 0.5))
    return tuple(rows)


SCHEDULES = {
    "fast": Schedule(start=Start(), rows=indi_rows(1, 0.0), about="one InDI step"),
    "three": Schedule(start=Start(), rows=indi_rows(3, 0.0), about="three InDI steps"),
    "noisy": Schedule(
        start=Start(c_noise=NOISY_EPS), rows=indi_rows(3, NOISY_EPS), about="three InDI steps, Brownian noise"
    ),
}


def tiny_manifest(scale: int, files: dict[str, m.FileRecord]) -> dict[str, Any]:
    """The fields of a valid manifest over the tiny graph, before overrides."""
    image = m.Tensor(dtype="float32", shape=("N", 3, "H", "W"))
    graph = m.Graph(
        file="graphs/denoise.fp32.onnx",
        external_data=tuple(name for name in files if name.endswith(".data")),
        inputs={"state": image, "t": m.Tensor(dtype="float32", shape=("N",), per="sample")},
        outputs={"pred": image},
        pred="x0",
        memory=m.Memory(fixed=1 << 20, per_pixel=64.0),
    )
    resize = () if scale == 1 else (m.Resize(filter="bicubic", factor=scale),)
    return {
        "name": "tiny",
        "family": "indi",
        "task": "restoration" if scale == 1 else "super-resolution",
        "scale": scale,
        "pixels": m.Pixels(range=(-1.0, 1.0), order="rgb"),
        "graphs": {"denoise": {"fp32": graph}},
        "schedules": SCHEDULES,
        "default_schedule": "fast",
        "prepare": (*resize, m.Pad(mode="reflect", multiple=4, smallest=8)),
        "finish": (m.Crop(), m.Quantize(mode="round")),
        "tiles": m.TileHints(
            multiple=4, smallest=8, preferred=32, overlap=8, blend="final", deviations=("zero padding: 1 px",)
        ),
        "licences": (
            m.Licence(part="base", licence="CC0-1.0", attribution="made by a test"),
            m.Licence(part="adapter", licence="unknown"),
        ),
        "provenance": m.Provenance(
            sources=(m.SourceFile(name="tiny.safetensors", sha256="ab" * 32, bytes=108),),
            format="test",
            versions={"onnx": "1"},
        ),
        "parity": (
            m.ParityRecord(
                what="denoise",
                precision="fp32",
                cases=3,
                max_abs=1e-6,
                p99_9=5e-7,
                psnr=120.0,
                ssim=1.0,
                nan_count=0,
                tolerance=2e-5,
                passed=True,
            ),
        ),
        "files": files,
    }


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests have a home of their own: what `open_bundle` remembers there is neither read nor left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


def guided_graphs(folder: Path, *, channels: int, growth: int) -> None:
    """Write the roles of a guided restoration: sums of blur(lq), their mean plus half the noise, blur(lq) times that.

    Zero padding of 1; `hq` is `growth` times as large, by repeating pixels.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def weight(count: int) -> np.ndarray:
        return np.ascontiguousarray(np.broadcast_to(BLUR, (count, 1, 3, 3)))

    node = helper.make_node
    scales = np.float32([1, 1, growth, growth])
    lq = ["N", channels, "H", "W"]
    high, wide = (f"{growth}{axis}" if growth > 1 else axis for axis in "HW")
    vector = ["N", channels]
    roles: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
        "reduce": (
            [
                node("Conv", ["lq", "weight"], ["blurred"], pads=[1, 1, 1, 1], group=channels),
                node("Mul", ["blurred", "mask"], ["masked"]),
                node("ReduceSum", ["masked", "axes"], ["sums"], keepdims=0),
                node("ReduceSum", ["mask", "axes"], ["count"], keepdims=0),
            ],
            {"weight": weight(channels), "axes": np.int64([2, 3])},
            {"lq": lq, "mask": ["N", 1, "H", "W"]},
            {"sums": vector, "count": ["N", 1]},
        ),
        "encode": (
            [node("Mul", ["noise", "half"], ["drawn"]), node("Add", ["pooled", "drawn"], ["cond"])],
            {"half": np.float32([0.5])},
            {"pooled": vector, "noise": vector},
            {"cond": vector},
        ),
        "decode": (
            [
                node("Slice", ["lq", "zero", "three", "one"], ["rgb"]),
                node("Slice", ["cond", "zero", "three", "one"], ["gain"]),
                node("Unsqueeze", ["gain", "axes"], ["gain_nchw"]),
                node("Conv", ["rgb", "weight"], ["blurred"], pads=[1, 1, 1, 1], group=3),
                node("Mul", ["blurred", "gain_nchw"], ["small"]),
                node(
                    "Resize",
                    ["small", "", "scales"],
                    ["hq"],
                    mode="nearest",
                    coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor",
                ),
            ],
            {
                "weight": weight(3),
                "axes": np.int64([2, 3]),
                "zero": np.int64([0]),
                "three": np.int64([3]),
                "one": np.int64([1]),
                "scales": scales,
            },
            {"lq": lq, "cond": vector},
            {"hq": ["N", 3, high, wide]},
        ),
    }
    for role, (nodes, constants, inputs, outputs) in roles.items():
        values = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
            for side in (inputs, outputs)
        ]
        fixed = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
        graph = helper.make_graph(nodes, role, *values, fixed)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        onnx.save_model(model, folder / f"{role}.fp32.onnx")


def guided_fields(*, channels: int, growth: int) -> dict[str, Any]:
    """The fields of a manifest over the guided graphs that differ from the tiny one's."""
    image = m.Tensor(dtype="float32", shape=("N", channels, "H", "W"))
    mask = m.Tensor(dtype="float32", shape=("N", 1, "H", "W"))
    vector = m.Tensor(dtype="float32", shape=("N", channels), per="image")
    high, wide = (f"{growth}{axis}" if growth > 1 else axis for axis in "HW")
    hq = m.Tensor(dtype="float32", shape=("N", 3, high, wide))
    count = m.Tensor(dtype="float32", shape=("N", 1), per="image")
    sides = {
        "reduce": ({"lq": image, "mask": mask}, {"sums": vector, "count": count}),
        "encode": ({"pooled": vector, "noise": vector}, {"cond": vector}),
        "decode": ({"lq": image, "cond": vector}, {"hq": hq}),
    }
    memory = m.Memory(fixed=1 << 20, per_pixel=64.0)
    graphs = {
        role: {"fp32": m.Graph(file=f"graphs/{role}.fp32.onnx", inputs=inputs, outputs=outputs, memory=memory)}
        for role, (inputs, outputs) in sides.items()
    }
    masked = channels == 4
    return {
        "name": "guided",
        "family": "guided",
        "task": "inpainting" if masked else "restoration" if growth == 1 else "super-resolution",
        "scale": growth,
        "pixels": m.Pixels(range=(0.0, 1.0), order="rgb"),
        "graphs": graphs,
        "schedules": {},
        "default_schedule": None,
        "prepare": (
            *((m.MaskOut(),) if masked else ()),
            m.Pad(mode="symmetric" if masked else "reflect", multiple=4, smallest=4),
        ),
        "finish": (
            m.Crop(),
            *((m.Composite(),) if masked else ()),
            m.Quantize(mode="truncate" if masked else "round"),
        ),
        "tiles": m.TileHints(multiple=4, smallest=4, preferred=16, overlap=8, blend="final"),
        "reduction": m.Reduction(reach=1, preferred=16),
    }


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a tiny valid bundle and returns its folder.

    `tiny_bundle(folder="tiny", scale=1, external=False, **fields)`: `fields` replace fields of the manifest;
    nothing is checked here, so they may make it invalid on purpose. The graph is `tiny_graph`'s.
    """

    def build(folder: str = "tiny", *, scale: int = 1, external: bool = False, **fields: Any) -> Path:
        root = tmp_path / folder
        (root / "graphs").mkdir(parents=True)
        tiny_graph(root / "graphs/denoise.fp32.onnx", external=external)
        return write_manifest(root, scale, fields)

    return build


@pytest.fixture
def guided_bundle(tmp_path: Path) -> Callable[..., Path]:
    """As `tiny_bundle`, for the roles reduce, encode and decode: `guided_bundle(folder, masked=False, growth=1)`."""

    def build(folder: str = "guided", *, masked: bool = False, growth: int = 1, **fields: Any) -> Path:
        root = tmp_path / folder
        (root / "graphs").mkdir(parents=True)
        channels = 4 if masked else 3
        guided_graphs(root / "graphs", channels=channels, growth=growth)
        return write_manifest(root, growth, guided_fields(channels=channels, growth=growth) | fields)

    return build


def write_manifest(root: Path, scale: int, fields: dict[str, Any]) -> Path:
    """Encoded from a plain dict, so that even a manifest which refuses to be constructed can be written."""
    files = {
        path.relative_to(root).as_posix(): m.FileRecord(
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size
        )
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    whole = {"format": "lqhq-bundle", "version": m.VERSION, **tiny_manifest(scale, files), **fields}
    (root / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
    return root


@pytest.fixture
def open_files() -> Callable[[], frozenset[tuple[int, int, int]]]:
    """Which files this process has open. Tests ask for what has come, `open_files() - before`: what earlier tests left
    to the collector, or to a thread of gRPC, may be closed at any time.
    """

    def found() -> frozenset[tuple[int, int, int]]:
        files = set()
        for number in map(int, os.listdir("/proc/self/fd")):
            with suppress(OSError):  # the folder itself, which has been read
                status = os.fstat(number)
                files.add((number, status.st_dev, status.st_ino))
        return frozenset(files)

    return found
