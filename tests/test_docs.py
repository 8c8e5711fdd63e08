"""Public names are documented, and no link in the documents is dead."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("kernels", "runtime", "server", "export", "tools")
LINK = re.compile(r"\[[^\]]*\]\(<?([^)>\s]+)>?[^)]*\)|<(?:img|a)[^>]*?(?:src|href)=\"([^\"]+)\"")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def without_docstring(tree: ast.Module) -> list[str]:
    """The names of `__all__` that are classes or functions of this file, and say nothing about themselves."""
    public: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            public = set(ast.literal_eval(node.value))
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    defined = [node for node in tree.body if isinstance(node, kinds) and node.name in public]
    return [node.name for node in defined if not ast.get_docstring(node)]


def sources() -> list[Path]:
    return [file for floor in FLOORS for file in sorted((ROOT / floor).rglob("*.py"))]


def documents() -> list[Path]:
    """What people read in the repository; `docs/reference/` is generated, so nothing may link into it."""
    below = [file for file in sorted((ROOT / "docs").rglob("*.md")) if "reference" not in file.parts]
    return [*sorted(ROOT.glob("*.md")), *below, *sorted((ROOT / "examples").glob("*.md"))]


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings: lower case, punctuation gone, spaces as hyphens."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def alive(target: Path, anchor: str) -> bool:
    if not target.exists() or "reference" in target.parts:
        return False
    return not anchor or target.suffix != ".md" or anchor in anchors(target.read_text())


def dead_links(document: Path) -> Iterator[str]:
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", document.read_text()))
    for match in LINK.finditer(prose):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):  # another site; the tests do not go there
            continue
        name, _, anchor = link.partition("#")
        if not alive(document.parent / name if name else document, anchor):
            yield link


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_public_names_have_docstrings(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert without_docstring(tree) == []
    assert ast.get_docstring(tree) or not tree.body, "the module says nothing about itself"


@pytest.mark.parametrize("document", documents(), ids=lambda file: str(file.relative_to(ROOT)))
def test_links_are_alive(document: Path) -> None:
    assert list(dead_links(document)) == []


def test_planted_silence_is_found() -> None:
    text = '__all__ = ["A", "f", "g"]\nclass A: ...\ndef f():\n    "Doc."\ndef g(): ...\ndef hidden(): ...'
    assert without_docstring(ast.parse(text)) == ["A", "g"]


def test_planted_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A title: here\n")
    document = tmp_path / "a.md"
    document.write_text(
        "# One\n[good](b.md) [good](b.md#a-title-here) [good](#one)\n"
        "[far](https://x.invalid/y) `[code](no.md)`\n"
        '```\n[code](no.md)\n```\n[dead](c.md) [dead](b.md#two) ![dead](d.png)\n<img src="e.png">\n'
    )
    assert list(dead_links(document)) == ["c.md", "b.md#two", "d.png", "e.png"]


def test_planted_title_is_not_taken_for_an_anchor() -> None:
    assert anchors("# Real\n```\n# comment\n```\n") == {"real"}
