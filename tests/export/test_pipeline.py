"""Whole exports: the golden networks through the command line, and what must not become a bundle."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from lqhq.export import pipeline, validate
from lqhq.export.families import FAMILIES
from lqhq.export.pipeline import ParityError, export_bundle
from lqhq.export.settings import Settings
from lqhq.runtime.bundle import file_records, open_bundle
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import BundleError, CheckpointError, OptionError
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
