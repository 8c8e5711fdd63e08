"""Loading weights that nobody vouches for."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lqhq.export import checkpoint
from lqhq.export.checkpoint import open_checkpoint
from lqhq.runtime.errors import CheckpointError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    torch.save(TENSORS, tmp_path / "w.pt")
    return tmp_path / "w.pt"


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors"])
def test_every_kind_of_file_gives_the_same_tensors_and_its_digest(tmp_path, suffix):
    file = tmp_path / f"w{suffix}"
    save_file(TENSORS, file) if suffix == ".safetensors" else torch.save(OrderedDict(TENSORS), file)
    opened = open_checkpoint(file)
    assert all(torch.equal(opened.tensors[name], tensor) for name, tensor in TENSORS.items())
    (source,) = opened.sources
    assert source.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert source.bytes == file.stat().st_size


class Planted:
    """Runs a command when a pickle of it is loaded by something that trusts pickles."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_a_command_is_refused_and_does_not_run_it(tmp_path, zipped):
    marker, file = tmp_path / "ran", tmp_path / "w.pt"
    torch.save({"a": TENSORS["a.bias"], "b": Planted(marker)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"code or foreign classes: \w+\.system; .*tensors only") as caught:
        open_checkpoint(file)
    assert not marker.exists()
    assert "torch.save(model.state_dict(), ...)" in caught.value.mend
    assert "weights_only" not in str(caught.value)  # torch's own message suggests to turn the guard off
    torch.load(file, weights_only=False)  # the trap is live: a trusting loader springs it
    assert marker.exists()


def test_a_bare_pickle_is_refused(tmp_path):
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path / "w.pt")


@pytest.mark.parametrize("kept", [0, 1, 10, 100, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_truncated_files_are_refused(tmp_path, plain, suffix, kept):
    file = tmp_path / f"cut{suffix}"
    save_file(TENSORS, file) if suffix == ".safetensors" else file.write_bytes(plain.read_bytes())
    data = file.read_bytes()
    file.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(CheckpointError, match="found"):
        open_checkpoint(file)


def test_flipped_bytes_never_escape_as_another_error(plain, tmp_path):
    """Seed 5; a flip inside the numbers still loads, all others must be a CheckpointError."""
    good, draw = plain.read_bytes(), torch.Generator().manual_seed(5)
    refused = 0
    for _ in range(60):
        data = bytearray(good)
        data[int(torch.randint(len(data), (), generator=draw))] ^= 1 << int(torch.randint(8, (), generator=draw))
        (tmp_path / "bad.pt").write_bytes(data)
        try:
            open_checkpoint(tmp_path / "bad.pt")
        except CheckpointError:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.zeros(3), "a Tensor"),
        ([TENSORS], "a list"),
        ({}, "none"),
        ({"step": 5, **TENSORS}, "step, a.weight"),
        ({"net": TENSORS, "ema": TENSORS, "step": 3}, "\"state_key\" in --config: 'net' or 'ema'"),
    ],
)
def test_what_is_no_flat_state_dict_says_what_was_seen(tmp_path, data, words):
    torch.save(data, tmp_path / "w.pt")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "w.pt")
    assert words in str(caught.value)


def test_state_key_chooses_and_is_reported(tmp_path):
    torch.save({"net": TENSORS, "ema": {"b": torch.ones(1)}}, tmp_path / "w.pt")
    opened = open_checkpoint(tmp_path / "w.pt", state_key="ema")
    assert list(opened.tensors) == ["b"]
    assert "'ema'" in opened.notes[0]
    with pytest.raises(CheckpointError, match="no state dict at 'x'"):
        open_checkpoint(tmp_path / "w.pt", state_key="x")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.tensor([1.0, float("nan")]), "NaN"),
        (torch.tensor([float("inf")]), "infinite"),
        (torch.zeros(1).expand(1 << 40), "bytes"),  # four bytes that claim four terabytes
        (torch.eye(2).to_sparse(), "sparse"),
    ],
)
def test_unusable_tensors_are_refused(tmp_path, tensor, words):
    torch.save({"a": tensor}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(tmp_path / "w.pt")


def test_a_deflated_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(1 << 20))
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 1 << 19)
    assert (tmp_path / "w.pt").stat().st_size < 1 << 19
    with pytest.raises(CheckpointError, match=f"{1 << 20} bytes"):
        open_checkpoint(tmp_path / "w.pt")


def test_folders(tmp_path):
    folder = tmp_path / "pipe" / "unet"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"_class_name": "X"}')
    save_file(TENSORS, folder / "diffusion_pytorch_model.safetensors")
    opened = open_checkpoint(tmp_path / "pipe")
    assert opened.config == {"_class_name": "X"}
    assert [source.name for source in opened.sources] == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert any("unet/" in note for note in opened.notes)
    torch.save(TENSORS, folder / "diffusion_pytorch_model.bin")
    assert any("left diffusion_pytorch_model.bin" in note for note in open_checkpoint(folder).notes)
    (tmp_path / "pipe" / "unet_ema").mkdir()
    with pytest.raises(CheckpointError, match="unet and unet_ema"):
        open_checkpoint(tmp_path / "pipe")


def test_the_models_folder_of_a_training(tmp_path):
    models = tmp_path / "run" / "models"
    models.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("never: read")
    for name in ("last.ckpt", "epoch=2.ckpt"):
        torch.save(TENSORS, models / name)
    opened = open_checkpoint(tmp_path / "run")
    assert opened.notes == ("took the folder models/ of a training", "took last.ckpt; left epoch=2.ckpt")
    assert [source.name for source in opened.sources] == ["last.ckpt"]
    (models / "last.ckpt").unlink()
    torch.save(TENSORS, models / "net_d_5.pth")
    with pytest.raises(CheckpointError, match=r"epoch=2\.ckpt, net_d_5\.pth"):
        open_checkpoint(tmp_path / "run")


def test_a_config_json_can_be_left_unread(tmp_path):
    save_file(TENSORS, tmp_path / "w.safetensors")
    (tmp_path / "config.json").write_text('{"scale": 4}')
    assert open_checkpoint(tmp_path).config == {"scale": 4}
    opened = open_checkpoint(tmp_path, config_json=False)
    assert opened.config == {}
    assert [source.name for source in opened.sources] == ["w.safetensors"]
    assert "config.json unread" in opened.notes[0]


def test_a_damaged_directory_of_a_zip_is_refused(tmp_path, plain):
    """Found by flipping bytes: `zipfile.is_zipfile` itself raises for an archive of several disks."""
    data = bytearray(plain.read_bytes())
    data[data.rindex(b"PK\x06\x07") + 16 if b"PK\x06\x07" in data else -18] ^= 1
    (tmp_path / "bad.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match="plain weights"):
        open_checkpoint(tmp_path / "bad.pt")


def test_missing_ambiguous_and_foreign_files(tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        open_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match="no weights file"):
        open_checkpoint(tmp_path)
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="onnx"):
        open_checkpoint(tmp_path / "w.onnx")
    for name in ("a.pt", "b.pt"):
        torch.save(TENSORS, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"a\.pt, b\.pt"):
        open_checkpoint(tmp_path)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_no_error_repeats_the_advice_of_torch(tmp_path, plain):
    """TorchScript and cut pickles: torch's texts name weights_only=False, ours must not."""
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pt")
    (tmp_path / "odd.pt").write_bytes(b"\x80\x02}q\x00\xff.")
    for name in ("script.pt", "odd.pt"):
        with pytest.raises(CheckpointError, match="plain weights") as caught:
            open_checkpoint(tmp_path / name)
        assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(CheckpointError, match="no regular file"):
        open_checkpoint(tmp_path / name)


def test_a_pipe_inside_a_folder_is_no_weights_file(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="no weights file"):
        open_checkpoint(tmp_path)


def test_devices_long_names_and_closed_files(tmp_path, plain, monkeypatch):
    with pytest.raises(CheckpointError, match="no regular file"):
        open_checkpoint(Path("/dev/zero"))
    with pytest.raises(CheckpointError, match="nothing"):
        open_checkpoint(tmp_path / ("x" * 300))

    def closed(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(plain))

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(CheckpointError, match=r"w\.pt: found Permission denied"):
        open_checkpoint(plain)


def test_names_of_tensors_cannot_drive_the_terminal(tmp_path):
    torch.save({"a\x1b]0;x\x07": torch.tensor([float("nan")])}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "w.pt")
    assert "a?]0;x?" in str(caught.value)
    torch.save({"\x1b[2J": 5}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "w.pt")
    assert "\x1b" not in str(caught.value)


def test_numbers_that_float32_cannot_hold_are_refused(tmp_path):
    torch.save({"a": torch.tensor([1e300], dtype=torch.float64)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="infinite values, as float32"):
        open_checkpoint(tmp_path / "w.pt")
