"""Checks the rules that keep the tree readable: import floors, names, mirrored tests. Reads source only.

    python tools/floors.py [ROOT]     prints `path:line: rule: mend` for each finding; exit 1 if there is one

| rule | what it forbids |
|---|---|
| `bare` | importing our folders without `lqhq.` (it gives a second copy of every class), tests included |
| `relative` | `from . import x` inside the floors: a reader cannot see the floor it points to |
| `floor` | an import upward or sideways, also inside functions and under `TYPE_CHECKING` |
| `door` | an example that imports more of us than `lqhq.runtime` and `lqhq.server.client` |
| `third-party` | a package that the floor, or the file, may not import |
| `cycle` | modules that import each other in a ring |
| `environment` | `os.environ` and its like outside `tools/cli/` |
| `name` | a file or folder whose last word says nothing: utils, helpers, common, ... |
| `family` | a model family's name in `runtime/` or `kernels/`, see `family_names` |
| `mirror` | a test file without the source file that it is named after |
| `syntax` | a file that Python cannot read |
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lqhq.tools.source_tree import Import, Source, read_sources

__all__ = ["CONTRACT_SUITES", "RULES", "Finding", "check", "main"]

RULES = (
    *("bare", "cycle", "door", "environment", "family", "floor"),
    *("mirror", "name", "relative", "syntax", "third-party"),
)
BELOW: Mapping[str, frozenset[str]] = {
    "kernels": frozenset(),
    "runtime": frozenset({"kernels"}),
    "server": frozenset({"kernels", "runtime"}),
    "export": frozenset({"kernels", "runtime"}),
    "tools": frozenset({"kernels", "runtime", "server", "export"}),
}
PUBLIC = ("lqhq.runtime", "lqhq.server.client")
BESIDE = ("tests", "examples", "benchmarks")  # they import us; nobody imports them
THIRD_PARTY: Mapping[str, frozenset[str]] = {
    "kernels": frozenset({"numpy"}),
    "runtime": frozenset({"numpy", "msgspec"}),
    "server": frozenset({"numpy", "msgspec", "grpc", "google"}),
    "export": frozenset({"numpy", "msgspec", "onnx", "onnx_ir", "onnxscript", "safetensors", "torch"}),
}  # tools, tests and benchmarks: anything
ONLY_IN: tuple[tuple[str, frozenset[str]], ...] = (
    ("kernels/*/gpu.py", frozenset({"torch", "triton"})),
    ("runtime/engines/onnx.py", frozenset({"onnxruntime"})),
    ("runtime/engines/onnx_arena.py", frozenset({"onnxruntime"})),
    ("runtime/engines/trt/*.py", frozenset({"tensorrt", "tensorrt_rtx"})),
    ("runtime/engines/device_arrays.py", frozenset({"torch"})),
    ("runtime/image_file.py", frozenset({"pyvips"})),
    ("runtime/prompt.py", frozenset({"tokenizers"})),
    ("runtime/image_write.py", frozenset({"pyvips"})),
    ("runtime/degrade/vips_ops.py", frozenset({"pyvips"})),
    ("server/health/*.py", frozenset({"grpc_health", "grpc_reflection"})),
    ("export/families/*/*.py", frozenset({"diffusers"})),
)
SAYS_NOTHING = frozenset(
    {"util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "core"}
)  # as the last word of a name; `base_rows.py` would pass
FAMILY = re.compile(r"(?i:(?<![a-z0-9])(?:osediff|diffir|indi|lq_?ddpm)(?![a-z0-9]))|OSEDiff|DiffIR|InDI|LQDDPM")
CONTRACT_SUITES = frozenset(
    {
        "tests/runtime/engines/test_contract.py",
        "tests/export/families/test_every_family_builds.py",
        "tests/export/families/test_half_goldens.py",
        "tests/runtime/samplers/test_diffusion_runs.py",
        "tests/server/restoring/test_latent_passage.py",
        "tests/test_demo.py",
        "tests/runtime/samplers/test_row_laws.py",
        "tests/test_docs.py",
        "tests/test_examples.py",
        "tests/test_floors.py",
        "tests/test_packages.py",
        "tests/test_public_names.py",
        "tests/test_torch_free.py",
    }
)


class Finding(NamedTuple):
    """One broken rule. `path` is below the root; `line` is 1 where the file itself is meant."""

    path: str
    line: int
    rule: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.mend}"


def finding(source: Source, line: int, rule: str, mend: str) -> Finding:
    return Finding(str(source.path), line, rule, mend)


def our_modules(imported: Import) -> tuple[str, ...]:
    """The `lqhq.<folder>...` names that an import reaches; `from lqhq import runtime` counts too."""
    if imported.module == "lqhq":
        return tuple(f"lqhq.{name}" for name in imported.names)
    return (imported.module,) if imported.module.startswith("lqhq.") else ()


def import_floors(source: Source) -> Iterator[Finding]:
    """Rules `bare`, `relative`, `floor` and `door`."""
    for imported in source.imports:
        root = imported.module.split(".")[0]
        if imported.level:
            if source.folder in BELOW:
                yield finding(source, imported.line, "relative", f"write {source.module} in full: from lqhq...")
            continue
        if root in BELOW:
            yield finding(source, imported.line, "bare", f"import lqhq.{imported.module}")
        for module in our_modules(imported):
            folder = module.split(".")[1]
            if source.folder in BELOW and folder != source.folder and folder not in BELOW[source.folder]:
                below = ", ".join(sorted(BELOW[source.folder])) or "nothing of ours"
                mend = f"{source.folder} may import {below}; move what both need one floor down"
                yield finding(source, imported.line, "floor", mend)
            if source.folder == "examples" and module not in PUBLIC:
                yield finding(
                    source, imported.line, "door", f"examples use a public door: from {' or '.join(PUBLIC)} import ..."
                )


def third_party(source: Source) -> Iterator[Finding]:
    """Rule `third-party`: per floor, plus the few files that wrap one package each."""
    if source.folder not in THIRD_PARTY:
        return
    extra = [packages for pattern, packages in ONLY_IN if source.path.match(pattern)]
    allowed = THIRD_PARTY[source.folder].union(*extra)
    for imported in source.imports:
        root = imported.module.split(".")[0]
        ours = root in BELOW or root == "lqhq" or imported.level
        if not ours and root not in sys.stdlib_module_names and root not in allowed:
            homes = [home for home, packages in ONLY_IN if root in packages and home.startswith(source.folder)]
            who = f"only {', '.join(homes)} may" if homes else f"{source.folder} may not"
            yield finding(source, imported.line, "third-party", f"{who} import {root}")


def environment(source: Source) -> Iterator[Finding]:
    """Rule `environment`: what is not on the command line or in the call must not change a result."""
    if source.folder not in BELOW or source.path.parts[:2] == ("tools", "cli"):
        return
    readers = {"environ", "environb", "getenv", "getenvb", "putenv"}
    mend = "read it in tools/cli and pass it as an argument"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in readers and getattr(node.value, "id", "") == "os":
            yield finding(source, node.lineno, "environment", mend)
    for imported in source.imports:
        if imported.module == "os" and readers & set(imported.names):
            yield finding(source, imported.line, "environment", mend)


def names(source: Source) -> Iterator[Finding]:
    """Rule `name`: the last word of every folder and file, leading underscores aside."""
    for part in (*source.path.parts[:-1], source.path.stem):
        if part.strip("_").split("_")[-1].lower() in SAYS_NOTHING:
            yield finding(source, 1, "name", f"{part!r} says nothing; name it after the concept it holds")


def words_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Identifiers and string constants with their lines; docstrings (any bare string) are left out."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.lineno, node.arg or ""
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def family_names(source: Source) -> Iterator[Finding]:
    """Rule `family`: the runtime knows roles and rows, never a family.

    A word is a stretch of letters and digits, so `indi_rows` holds `indi` and `indices` does not; the
    families' own spellings (OSEDiff) count inside longer names too. Looked at: paths, imports, identifiers
    and string constants. Free: docstrings, comments, and `indi` in `runtime/samplers/`, where it names a
    formula; elsewhere in the runtime even an import of that is a finding: builders are called at export.
    """
    if source.folder not in ("kernels", "runtime"):
        return
    free = {"indi"} if source.path.parts[:2] == ("runtime", "samplers") else set()
    said = [(1, str(source.path)), *words_of(source.tree)]
    said += [(imported.line, " ".join((imported.module, *imported.names))) for imported in source.imports]
    for line, text in said:
        if {word.lower() for word in FAMILY.findall(text)} - free:
            mend = "the runtime knows roles and rows, never a family; say it in the manifest's data"
            yield finding(source, line, "family", mend)


def mirror(sources: Iterable[Source]) -> Iterator[Finding]:
    """Rule `mirror`: tests/runtime/test_tiles.py needs runtime/tiles.py, or a package of that name."""
    have = {str(source.path) for source in sources}
    for source in sources:
        if source.folder != "tests" or not source.path.name.startswith("test_") or str(source.path) in CONTRACT_SUITES:
            continue
        named = PurePosixPath(*source.path.parts[1:-1], source.path.stem.removeprefix("test_"))
        if f"{named}.py" not in have and f"{named}/__init__.py" not in have:
            mend = f"no {named}.py; name the test after its source, or list it in CONTRACT_SUITES"
            yield finding(source, 1, "mirror", mend)


def cycles(sources: Iterable[Source]) -> Iterator[Finding]:
    """Rule `cycle`: one finding per ring, at the import that closes it. Doors are modules like others."""
    by_module = {source.module: source for source in sources if source.folder in BELOW}

    def edges(source: Source) -> Iterator[tuple[int, str]]:
        for imported in source.imports:
            for name in imported.names or ("",):
                longer = f"{imported.module}.{name}"
                target = longer if longer in by_module else imported.module
                if target in by_module:
                    yield imported.line, target

    done: set[str] = set()

    def visit(module: str, path: list[str]) -> Iterator[Finding]:
        path.append(module)
        for line, target in edges(by_module[module]):
            if target in path:
                ring = " -> ".join((*path[path.index(target) :], target))
                yield finding(by_module[module], line, "cycle", f"{ring}; move what both need to a file below")
            elif target not in done:
                yield from visit(target, path)
        done.add(path.pop())

    for module in sorted(by_module):
        if module not in done:
            yield from visit(module, [])


def check(root: Path) -> list[Finding]:
    """All findings below `root`, by path and line."""
    sources, broken = read_sources(root, (*BELOW, *BESIDE))
    found = [Finding(str(path), error.lineno or 1, "syntax", error.msg) for path, error in broken.items()]
    for source in sources:
        for rule in (import_floors, third_party, environment, names, family_names):
            found.extend(rule(source))
    found.extend(mirror(sources))
    found.extend(cycles(sources))
    return sorted(set(found))


def main(argv: list[str]) -> int:
    """Print the findings; 0 if there is none, 1 otherwise."""
    findings = check(Path(argv[0]) if argv else Path(__file__).resolve().parent.parent)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
