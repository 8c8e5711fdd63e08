"""The fake server of `tests/server/client`, for the commands that speak to one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

PLACE = Path(__file__).resolve().parents[2] / "server" / "client" / "conftest.py"


@pytest.fixture(scope="session")
def fakes() -> Any:
    """The module that holds `Fake` and `start`."""
    name = "lqhq_fake_server"
    spec = spec_from_file_location(name, PLACE)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake(fakes: Any) -> Any:
    return fakes.Fake()


@pytest.fixture
def address(fakes: Any, fake: Any) -> Iterator[str]:
    server, where = fakes.start(fake)
    yield where
    fake.left.set()
    server.stop(0).wait()
