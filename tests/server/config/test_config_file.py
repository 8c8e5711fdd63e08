"""Files of settings, and flags above them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.config.config_file import KEYS, read_config
from lqhq.server.config.serve_config import ServeConfig

FILE = """
bundles = ["demo", "faces=models/faces", "plain"]
model_dir = "/srv/models"
device = ["cuda:0", "cuda:1"]
batch_window = 1
memory = "4G"
max_message = 1048576
metrics_port = "off"
tls_cert = "tls/server.pem"
tls_key = "tls/server.key"
drain = 5.5
reflection = false
"""


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "serve.toml"
        path.write_text(text)
        return path

    return write


def test_a_file(written: Any, tmp_path: Path) -> None:
    config = read_config(written(FILE), {})
    assert config == ServeConfig(
        bundles=("demo", f"faces={tmp_path}/models/faces", f"{tmp_path}/plain"),
        model_dir=Path("/srv/models"),
        devices=("cuda:0", "cuda:1"),
        batch_window_ms=1,
        memory=4_000_000_000,
        max_message_bytes=1 << 20,
        metrics_port=None,
        tls_cert=tmp_path / "tls/server.pem",
        tls_key=tmp_path / "tls/server.key",
        drain_s=5.5,
        reflection=False,
    )


def test_flags_win_and_what_was_not_given_does_not(written: Any) -> None:
    given = {"bundles": ["./demo"], "devices": ["cpu,cuda:2"], "drain_s": 1.0, "memory": None, "max_batch": 0x10}
    config = read_config(written(FILE), given)
    assert config.bundles == ("./demo",)  # a folder here, not the bundle that ships
    assert config.devices == ("cpu", "cuda:2")
    assert (config.drain_s, config.memory, config.max_batch) == (1.0, 4_000_000_000, 16)
    assert read_config(written(FILE), {"bundles": []}).bundles[0] == "demo"


def test_without_a_file() -> None:
    assert read_config(None, {"bundles": ["demo"]}) == ServeConfig(bundles=("demo",))


def test_a_folder_called_demo_beside_the_file(written: Any, tmp_path: Path) -> None:
    assert read_config(written('bundles = ["./demo"]'), {}).bundles == (f"{tmp_path}/./demo",)


def test_no_model_is_refused(written: Any) -> None:
    with pytest.raises(OptionError, match="lqhq serve demo"):
        read_config(written("port = 1"), {})


@pytest.mark.parametrize(
    ("text", "near"),
    [("max_bacth = 2", "max_batch"), ("drain_s = 2", "drain"), ("devices = 1", "device"), ("zzzz = 1", "Known: ")],
)
def test_unknown_keys_name_the_nearest(written: Any, text: str, near: str) -> None:
    with pytest.raises(OptionError, match=near):
        read_config(written(text), {"bundles": ["demo"]})


@pytest.mark.parametrize(
    "text",
    [
        "port = ",
        "port = 1\nport = 2",
        "port = '1'",
        "port = true",
        "memory = 'much'",
        "memory = 1.5",
        "reflection = 1",
        "host = 3",
        "tls_cert = 3",
        "tls_cert = ''",
        "bundles = [1]",
        "bundles = ['']",
        "device = {a = 1}",
        "metrics_port = 'on'",
        "drain = inf",
        "a = " + "[" * 5000,
        "[server]\nport = 1",
        "# " + "x" * (1 << 20),
    ],
    ids=lambda text: text[:20],
)
def test_refused(written: Any, text: str) -> None:
    with pytest.raises(OptionError):
        read_config(written(text), {"model_dir": "m"})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name in ("none", ".", "bytes"):
        with pytest.raises(OptionError, match="config "):
            read_config(tmp_path / name, {})


def test_errors_name_file_and_key(written: Any) -> None:
    with pytest.raises(OptionError, match=r"serve\.toml: memory"):
        read_config(written("memory = 'x'"), {})


def test_keys_cover_every_field_once() -> None:
    assert list(KEYS) == [field.name for field in fields(ServeConfig)]
    assert len(set(KEYS.values())) == len(KEYS)
