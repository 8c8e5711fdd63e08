"""Whole exports: the golden networks through the command line, and what must not become a bundle."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest

from lqhq.export import pipeline, validate
from lqhq.export.families import FAMILIES
from lqhq.export.pipeline import ParityError, export_bundle
from lqhq.export.settings import Settings
from lqhq.runtime.bundle import Bundle, file_records, open_bundle
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import BundleError, CheckpointError, OptionError
from lqhq.runtime.precision import EMULATED
from lqhq.runtime.selfcheck import replay

NAMES = ["f_diffusers", "f_guided", "f_sr3", "f_indiunet"]


@pytest.fixture(autouse=True)
def _exported_before(request, exported) -> None:
    """Exports take longer than a test may; they belong to the set-up."""
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    if name:
        exported(name)


def session_of(bundle) -> OnnxSession:
    return OnnxSession(bundle.path(bundle.manifest.graphs["denoise"]["fp32"].file), threads=1)


def test_all_golden_networks_are_covered(goldens):
    assert list(goldens) == NAMES
    assert {golden.form for golden in goldens.values()} | {"lqhq"} == {form.name for form in FAMILIES[0].formats}


@pytest.mark.parametrize("name", NAMES)
def test_forward_through_the_bundle(exported, goldens, name):
    bundle, data = open_bundle(exported(name)), np.load(goldens[name].path.parent / f"{name}.forward.npz")
    with session_of(bundle) as session:
        for x, out in (("x", "out"), ("x_rect", "out_rect")):
            for t, wanted in zip(data["t"], data[out], strict=True):
                feed = {"state": data[x], "t": np.full(len(data[x]), t, np.float32)}
                assert np.abs(session.run(feed)["pred"] - wanted).max() < 2e-5


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("f_diffusers", "soft"),
        *[("f_guided", schedule) for schedule in ("five", "soft")],
        *[("f_sr3", schedule) for schedule in ("five", "soft", "fresh")],
        ("f_indiunet", "five"),
    ],
)
def test_trajectories_through_the_bundle(exported, goldens, name, schedule):
    """The bundle's rows as the manifest states them, its graph, the stored noise."""
    bundle = open_bundle(exported(name))
    data = np.load(goldens[name].path.parent / f"{name}.traj_{goldens[name].trajectories[schedule]}.npz")
    table = bundle.manifest.schedules[schedule]
    state = table.start.c_img * data["y"]
    if table.start.c_noise:
        state = state + table.start.c_noise * data["noise_init"]
    with session_of(bundle) as session:
        for index, row in enumerate(table.rows):
            state = state.astype(np.float32)
            pred = session.run({"state": state, "t": np.full(len(state), row.t, np.float32)})["pred"]
            v = np.clip(pred, -row.clip, row.clip) if row.clip else pred
            state = row.c_state * state + row.c[0] * v
            if row.sigma:
                state = state + row.sigma * data["noise_step"][index]
    assert np.abs(state - data["final"]).max() < 1e-4


@pytest.mark.parametrize("name", [*NAMES, "film"])
def test_the_bundle_replays_its_goldens_and_stores_its_record(exported, name):
    bundle = open_bundle(exported(name))
    report = replay(bundle, threads=1)
    assert report.passed, report.table()
    assert {record.what for record in bundle.manifest.parity} == {"denoise", "trajectory", "image"}
    assert all(record.passed for record in bundle.manifest.parity)
    assert {case.what for case in report.cases} == {"denoise", "image"}
    size = sum(bundle.manifest.files[file].bytes for file in bundle.manifest.files if file.startswith("goldens/"))
    assert size < 300_000


def test_the_manifest_says_where_it_came_from(exported, goldens):
    manifest = open_bundle(exported("f_sr3")).manifest
    assert manifest.provenance.format == "sr3"
    assert manifest.provenance.config["unet"]["norm_groups"] == 8
    assert manifest.provenance.config["key_prefix"] == "denoise_fn."
    assert manifest.provenance.sources[0].name == goldens["f_sr3"].path.name
    assert "torch" in manifest.provenance.versions
    assert manifest.schedules["five"].rows[0].clip == 1.0  # clip_denoised of the file
    assert manifest.schedules["fresh"].rows[0].clip is None
    assert manifest.licences[0].licence == "unknown"
    assert manifest.tiles.deviations
    assert (manifest.tiles.multiple, manifest.scale, manifest.task) == (4, 1, "restoration")
    film = open_bundle(exported("film")).manifest
    assert (film.tiles.reach, film.tiles.deviations) == (11, ())  # of one call, though the schedule has two
    assert (film.scale, film.task, film.default_schedule, film.name) == (2, "super-resolution", "fast", "film")


@pytest.fixture(scope="module")
def half(exported):
    """The film network in all precisions."""
    return open_bundle(exported("film-half"))


def test_plans_hold_what_the_graphs_are_made_of_and_what_was_measured(half):
    variants = half.manifest.graphs["denoise"]
    assert list(variants) == ["fp32", "fp16", "bf16"]
    plans = {precision: graph.plan for precision, graph in variants.items()}
    single, fp16, bf16 = (plans[precision] for precision in variants)
    assert single.islands == fp16.islands == bf16.islands == ()
    assert (single.psnr, single.largest) == (None, None)
    assert (list(single.weights), list(single.layers["convolution"])) == (["float32"], ["float32"])
    assert fp16.layers == {"convolution": {"float16": 5}, "matmul": {"float16": 3}}
    assert bf16.layers == {"convolution": {"bfloat16": 5}, "matmul": {"bfloat16": 3}}
    for plan, kind in ((fp16, "float16"), (bf16, "bfloat16")):
        assert 0.45 < plan.weights[kind] / single.weights["float32"] < 0.55
        assert plan.weights.get("float32", 0) < 0.02 * single.weights["float32"]
    assert 100 >= fp16.psnr > bf16.psnr + 6 > 30
    assert all(0.5 < plan.largest < 10 for plan in (fp16, bf16))
    sides = {(tuple(graph.inputs), tuple(graph.outputs)) for graph in variants.values()}
    assert sides == {(("state", "t"), ("pred",))}
    assert {tensor.dtype for graph in variants.values() for tensor in graph.inputs.values()} == {"float32"}


def test_records_say_the_precision_and_the_unit(half):
    records = half.manifest.parity
    assert {record.precision for record in records} == {"fp32", "fp16", "bf16"}
    assert {record.unit for record in records if record.precision == "fp32"} == {"abs"}
    images = {record.precision: record for record in records if record.what == "image"}
    assert [(images[one].unit, images[one].tolerance) for one in ("fp16", "bf16")] == [("dB", 50.0), ("dB", 32.0)]
    assert images["fp16"].psnr is None or images["fp16"].psnr >= 50
    assert all(record.passed for record in records)


def test_half_precision_replays_and_a_tampered_graph_fails(half, tmp_path):
    """The planted fault: a bias moved by 0.02."""
    report = replay(half, precision="fp16", threads=1)
    assert report.passed, report.table()
    assert (report.precision, report.how) == ("fp16", EMULATED)
    assert {case.unit for case in report.cases} == {"dB"}
    folder = tmp_path / "copy"
    shutil.copytree(half.folder, folder)
    file = folder / "graphs" / "denoise.fp16.onnx"
    model = onnx.load(file)
    (bias,) = [one for one in model.graph.initializer if one.name.endswith("tail.bias")]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float16(0.02), bias.name))
    onnx.save(model, file)
    report = replay(Bundle(folder, half.manifest), precision="fp16", threads=1)
    assert [case.passed for case in report.cases] == [False] * len(report.cases)
    assert replay(Bundle(folder, half.manifest), threads=1).passed


def test_a_precision_that_is_not_held_is_refused(exported):
    with pytest.raises(OptionError, match="precision: found 'fp16'; expected one of fp32"):
        replay(open_bundle(exported("film")), precision="fp16")


def test_settings_reach_the_manifest_and_large_weights_go_outside(film, tmp_path):
    config = {
        "pixels": {"range": [0.0, 1.0], "order": "bgr"},
        "quantize": "truncate",
        "tiles": {"preferred": 128, "overlap": 16, "blend": "each", "trained": 96},
        "licences": [{"part": "base", "licence": "CC0-1.0"}],
        "default_schedule": "soft",
    }
    checkpoint = film(schedules={"fast": {"steps": 1}, "soft": {"steps": 2, "noise": "const", "eps": 0.05}})
    folder, report = export_bundle(FAMILIES[0], checkpoint, tmp_path / "My Bundle", config=config, external_above=100)
    manifest = open_bundle(folder).manifest
    assert manifest.name == "my-bundle"
    assert manifest.tiles.deviations[0].startswith("overlap: where tiles meet, a pixel may see only 4 of the 11 px")
    assert manifest.pixels.order == "bgr"
    assert manifest.quantize.mode == "truncate"
    assert (manifest.tiles.preferred, manifest.tiles.blend, manifest.tiles.trained) == (128, "each", 96)
    assert manifest.default_schedule == "soft"
    assert manifest.graphs["denoise"]["fp32"].external_data == ("graphs/denoise.fp32.onnx.data",)
    assert report.passed
    assert replay(open_bundle(folder), threads=1).passed


def test_a_failed_parity_leaves_nothing(film, tmp_path, monkeypatch):
    """The planted fault: the reference feeds the network another time than the graph does."""
    outputs = validate.reference_outputs
    monkeypatch.setattr(
        validate, "reference_outputs", lambda graph, feed: outputs(graph, feed | {"t": feed["t"] * 0.5})
    )
    monkeypatch.setattr(pipeline, "measure_memory", lambda file, graph: pipeline.m.Memory(fixed=1, per_pixel=1.0))
    lines: list[str] = []
    with pytest.raises(ParityError, match="parity within the stated bounds"):
        export_bundle(FAMILIES[0], film(), tmp_path / "out", say=lines.append)
    assert "PARITY FAILS in 3 of" in "\n".join(lines)
    assert [path.name for path in tmp_path.iterdir()] == ["film"]


def test_wrong_requests_leave_nothing(film, tmp_path):
    with pytest.raises(OptionError, match="multiple of 2"):
        export_bundle(FAMILIES[0], film("odd"), tmp_path / "out", config={"tiles": {"preferred": 101}})
    (tmp_path / "there").mkdir()
    with pytest.raises(BundleError):
        export_bundle(FAMILIES[0], film(), tmp_path / "there")
    with pytest.raises(CheckpointError):
        export_bundle(FAMILIES[0], tmp_path / "none.pt", tmp_path / "out", flags=Settings())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film", "odd", "there"]


@pytest.mark.parametrize("step", ["trace", "copy_papers", "write_goldens", "write_manifest"])
def test_a_full_disk_is_told_and_leaves_nothing(film, tmp_path, monkeypatch, step):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "trace", lambda *args, **options: ((), None))
    monkeypatch.setattr(pipeline, "write_goldens", lambda recipe, folder: None)
    monkeypatch.setattr(pipeline, "measure_memory", lambda file, graph: pipeline.m.Memory(fixed=1, per_pixel=1.0))
    monkeypatch.setattr(pipeline, "_manifest", lambda *args: None)
    monkeypatch.setattr(pipeline, step, full)
    with pytest.raises(BundleError, match=r"out: found No space left on device; .* choose another place"):
        export_bundle(FAMILIES[0], film(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["film"]


def test_a_reader_that_left_is_no_fault_of_the_disk(film, tmp_path, monkeypatch):
    def broken(line: str) -> None:
        if line.startswith("tracing"):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        export_bundle(FAMILIES[0], film(), tmp_path / "out", say=broken)
    assert [path.name for path in tmp_path.iterdir()] == ["film"]


def test_a_tampered_golden_is_noticed(exported, tmp_path):
    """A bundle whose goldens disagree with its graph fails its own check."""
    folder = tmp_path / "copy"
    shutil.copytree(exported("film"), folder)
    file = folder / "goldens" / "denoise.npz"
    arrays = dict(np.load(file))
    arrays["batch.pred"] = arrays["batch.pred"] + np.float32(1e-3)
    np.savez_compressed(file, **arrays)
    manifest = json.loads((folder / "manifest.json").read_text())
    record = file_records(folder)["goldens/denoise.npz"]
    manifest["files"]["goldens/denoise.npz"] = {"sha256": record.sha256, "bytes": record.bytes}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    report = replay(open_bundle(folder), threads=1)
    assert [case.passed for case in report.cases] == [True, True, False, True]
