"""The Python files of the tree, parsed, with their imports. Knows no rule; `floors.py` does."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

__all__ = ["Import", "Source", "read_sources"]


class Import(NamedTuple):
    """`module` is what the statement names; `names` what it takes from it (empty for `import module`)."""

    line: int
    module: str
    names: tuple[str, ...]
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A parsed file. `path` is relative to the root; `imports` holds those inside functions too."""

    path: PurePosixPath
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def folder(self) -> str:
        return self.path.parts[0]

    @property
    def module(self) -> str:
        parts = self.path.with_suffix("").parts
        return ".".join(("lqhq", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports_of(tree: ast.Module) -> Iterator[Import]:
    """Every import statement, and every `import_module("...")` whose name is written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, (), 0)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(node.lineno, node.module or "", names, node.level)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield Import(node.lineno, node.args[0].value, (), 0)


def read_sources(root: Path, folders: Iterable[str]) -> tuple[list[Source], dict[PurePosixPath, SyntaxError]]:
    """Parse every Python file below these folders of `root`: what could be read, and why the rest could not."""
    sources, broken = [], {}
    for folder in folders:
        for file in sorted((root / folder).rglob("*.py")):
            path = PurePosixPath(file.relative_to(root).as_posix())
            try:
                tree = ast.parse(file.read_bytes())
            except SyntaxError as error:
                broken[path] = error
                continue
            sources.append(Source(path=path, tree=tree, imports=tuple(imports_of(tree))))
    return sources, broken
