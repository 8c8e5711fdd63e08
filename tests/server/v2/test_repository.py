"""Repository calls name a model, and bring none."""

from __future__ import annotations

from typing import Any

import pytest

from lqhq.server.models.entry import Entry
from lqhq.server.protos import inference_pb2 as pb
from lqhq.server.v2.errors import RequestError, UnsupportedError
from lqhq.server.v2.repository import index_of, plain_load, plain_unload

ENTRIES = [
    Entry(name="b", version=2, state="READY"),
    Entry(name="b", version=1, state="UNLOADING"),
    Entry(name="a", version=0, state="UNAVAILABLE", reason="damaged"),
]


def listed(**fields: Any) -> list[tuple[str, str, str, str]]:
    reply = index_of(pb.RepositoryIndexRequest(**fields), ENTRIES)
    return [(one.name, one.version, one.state, one.reason) for one in reply.models]


def test_index() -> None:
    assert listed() == [("a", "", "UNAVAILABLE", "damaged"), ("b", "1", "UNLOADING", ""), ("b", "2", "READY", "")]
    assert listed(ready=True) == [("b", "2", "READY", "")]


def test_there_is_one_repository() -> None:
    for call, kind in ((plain_load, pb.RepositoryModelLoadRequest), (plain_unload, pb.RepositoryModelUnloadRequest)):
        with pytest.raises(UnsupportedError, match="repository_name"):
            call(kind(repository_name="other", model_name="m"))
    with pytest.raises(UnsupportedError, match="repository_name"):
        listed(repository_name="other")


def test_names() -> None:
    assert plain_load(pb.RepositoryModelLoadRequest(model_name="m")) == "m"
    request = pb.RepositoryModelUnloadRequest(model_name="m")
    request.parameters["unload_dependents"].bool_param = True
    assert plain_unload(request) == "m"
    with pytest.raises(RequestError, match="model_name"):
        plain_load(pb.RepositoryModelLoadRequest())
    with pytest.raises(RequestError, match="model_name"):
        plain_unload(pb.RepositoryModelUnloadRequest())


@pytest.mark.parametrize("key", ["config", "file:1/model.onnx", "other"])
def test_models_do_not_come_with_the_request(key: str) -> None:
    request = pb.RepositoryModelLoadRequest(model_name="m")
    request.parameters[key].string_param = "{}"
    with pytest.raises(UnsupportedError, match="comes with the request"):
        plain_load(request)


@pytest.mark.parametrize(("key", "value"), [("other", True), ("unload_dependents", "yes")])
def test_parameters_of_unloading(key: str, value: Any) -> None:
    request = pb.RepositoryModelUnloadRequest(model_name="m")
    setattr(request.parameters[key], "bool_param" if value is True else "string_param", value)
    with pytest.raises(RequestError, match=key):
        plain_unload(request)
