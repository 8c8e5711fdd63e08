"""Which files a batch reads and which it writes. Decided before the first one is opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from lqhq.runtime.errors import OptionError

__all__ = ["FilePair", "plan_files"]


class FilePair(NamedTuple):
    """One image to read and the file that its result goes to."""

    source: Path
    target: Path


def plan_files(inputs: Sequence[str], output: str, suffixes: Sequence[str]) -> tuple[FilePair, ...]:
    """Pairs in a fixed order (as given; folders and patterns sorted by name).

    An input is a file, a folder (searched with its subfolders for files ending in one of `suffixes`), or a pattern.
    `output` is a file when there is one input file and it has a suffix (and is no folder, nor ends in a slash), else
    a folder that keeps the names, below a searched folder also the subfolders. Raises `OptionError` for an input that
    matches nothing, an output file of another kind than `suffixes`, two results of one name, and a result that would
    replace its own input.
    """
    found = [pair for text in inputs for pair in _expand(text, suffixes)]
    folder, single = Path(output), len(found) == 1 and not Path(inputs[0]).is_dir()
    if single and folder.suffix and not output.endswith("/") and not folder.is_dir():
        pairs = [FilePair(found[0][0], _known(folder, suffixes))]
    else:
        pairs = [FilePair(source, folder / relative) for source, relative in found]
    _check(pairs)
    return tuple(pairs)


def _known(output: Path, suffixes: Sequence[str]) -> Path:
    if output.suffix.lower() not in suffixes:
        raise OptionError(
            str(output),
            found=f"suffix {output.suffix!r}",
            expected=", ".join(suffixes),
            mend="Name the result with one of these, or end a folder's name with a slash.",
        )
    return output


def _expand(text: str, suffixes: Sequence[str]) -> list[tuple[Path, Path]]:
    """Source files of one input, each with its path below the output folder."""
    path = Path(text)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
        return _some([(p, p.relative_to(path)) for p in files if not _hidden(p, path)], text, suffixes)
    if path.exists() or not has_magic(text):
        return [(path, Path(path.name))]  # a missing file is reported with the others that fail
    matches = sorted(Path(p) for p in glob(text, recursive=True))
    return _some([(p, Path(p.name)) for p in matches if p.is_file()], text, suffixes)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _some(pairs: list[tuple[Path, Path]], text: str, suffixes: Sequence[str]) -> list[tuple[Path, Path]]:
    if not pairs:
        raise OptionError(
            text,
            found="no image",
            expected=f"files ending in {', '.join(suffixes)}",
            mend="Check the path; quote a pattern so that lqhq expands it.",
        )
    return pairs


def _check(pairs: Iterable[FilePair]) -> None:
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        key = target.resolve()
        if key == source.resolve():
            raise OptionError(
                str(source),
                found="an output that is the input itself",
                expected="another file",
                mend="Give another -o; lqhq does not write over what it reads.",
            )
        if key in taken:
            raise OptionError(
                str(target),
                found=f"two inputs, {taken[key]} and {source}",
                expected="one input for each output file",
                mend="Restore the folders one by one, each with its own -o.",
            )
        taken[key] = source
