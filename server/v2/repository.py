"""The repository calls: which models there are, load one, unload one. Nothing is uploaded by them."""

from __future__ import annotations

from collections.abc import Iterable

from lqhq.server.models.entry import Entry
from lqhq.server.protos.inference_pb2 import (
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    RepositoryModelLoadRequest,
    RepositoryModelUnloadRequest,
)
from lqhq.server.v2.errors import RequestError, UnsupportedError

__all__ = ["index_of", "plain_load", "plain_unload"]


def index_of(request: RepositoryIndexRequest, entries: Iterable[Entry]) -> RepositoryIndexResponse:
    """All models by name and version, or those alone that are ready. Raises `UnsupportedError`."""
    _one_repository(request.repository_name)
    return RepositoryIndexResponse(
        models=[
            RepositoryIndexResponse.ModelIndex(
                name=entry.name,
                version=str(entry.version) if entry.version else "",
                state=entry.state,
                reason=entry.reason,
            )
            for entry in sorted(entries, key=lambda entry: (entry.name, entry.version))
            if entry.state == "READY" or not request.ready
        ]
    )


def plain_load(request: RepositoryModelLoadRequest) -> str:
    """The model's name. Raises `UnsupportedError` for a configuration or files that come with the request."""
    _one_repository(request.repository_name)
    for key in sorted(request.parameters):
        raise UnsupportedError(
            f"parameter {key[:80]!r}",
            found="a model that comes with the request",
            expected="a bundle that is in the server's folder",
            mend="Put the bundle there, and load it by name alone.",
        )
    return _named(request.model_name)


def plain_unload(request: RepositoryModelUnloadRequest) -> str:
    """The model's name; no model here depends on another, so `unload_dependents` changes nothing.

    Raises `RequestError`, `UnsupportedError`.
    """
    _one_repository(request.repository_name)
    for key in sorted(request.parameters):
        if key != "unload_dependents" or request.parameters[key].WhichOneof("parameter_choice") != "bool_param":
            raise RequestError(
                f"parameter {key[:80]!r}",
                found="a key or kind that is not known",
                expected="'unload_dependents' as a bool",
                mend="Leave it out.",
            )
    return _named(request.model_name)


def _named(name: str) -> str:
    if not name:
        raise RequestError("model_name", found="none", expected="the model's name", mend="RepositoryIndex lists them.")
    return name


def _one_repository(name: str) -> None:
    if name:
        raise UnsupportedError(
            "repository_name", found=repr(name[:80]), expected="none: the server has one", mend="Leave it out."
        )
