"""Which files a batch reads and which it writes. Decided before the first one is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from lqhq.runtime.errors import OptionError

__all__ = ["FilePair", "plan_files"]


class FilePair(NamedTuple):
    """One image to read, the file that its result goes to, and where it lies below the searched folder."""

    source: Path
    target: Path
    relative: Path = Path()  # empty: not told


def plan_files(
    inputs: Sequence[str], output: str, suffixes: Sequence[str], *, beside: str | None = None
) -> tuple[FilePair, ...]:
    """Pairs in a fixed order (as given; folders and patterns sorted by name).

    An input is a file, a folder (searched with its subfolders for files ending in one of `suffixes`), or a pattern.
    `output` is a file when the one input is a file and it has a suffix (and is no folder, nor ends in a slash), else
    a folder that keeps the names, below a searched folder also the subfolders. Where that folder lies inside a
    searched one, what is in it is left out: it is the work of an earlier run. So is what is in the folder `beside`.

    Raises `OptionError` for an empty name, an input that matches nothing, an output file of another kind than
    `suffixes` or for what may be several inputs, two results of one name, and a result that would replace an input.
    """
    if "" in inputs or not output:
        raise OptionError(
            "output" if not output else "input",
            found="an empty name",
            expected="a file, a folder or a pattern",
            mend="Name it; `.` is the folder you are in. A variable of your script may be empty.",
        )
    folder, names_file = Path(output), _names_file(output)
    single = len(inputs) == 1 and _is_plain(inputs[0])
    if names_file and not single and folder.suffix.lower() in suffixes:
        raise OptionError(
            output,
            found="the name of one image, for " + (f"{len(inputs)} inputs" if len(inputs) > 1 else repr(inputs[0])),
            expected="a folder, as for every folder, pattern or list of inputs",
            mend="Name a folder; if its name is to end like this, put a slash after it.",
        )
    apart = [output] if beside is None else [output, beside]
    found = [pair for text in inputs for pair in _expand(text, apart, suffixes)]
    if single and names_file:
        pairs = [FilePair(found[0][0], _known(folder, suffixes), found[0][1])]
    else:
        pairs = [FilePair(source, folder / relative, relative) for source, relative in found]
    _check(pairs)
    return tuple(pairs)


# os.path throughout, not Path: what cannot be asked about (a name too long, a folder closed to us) is False, no error.


def _names_file(output: str) -> bool:
    return bool(Path(output).suffix) and not output.endswith("/") and not os.path.isdir(output)


def _is_plain(text: str) -> bool:
    """One file, there or not; neither a folder nor a pattern."""
    return not os.path.isdir(text) and (os.path.exists(text) or not has_magic(text))


def _known(output: Path, suffixes: Sequence[str]) -> Path:
    if output.suffix.lower() not in suffixes:
        raise OptionError(
            str(output),
            found=f"suffix {output.suffix!r}",
            expected=", ".join(suffixes),
            mend="Name the result with one of these, or end a folder's name with a slash.",
        )
    return output


def _expand(text: str, apart: Sequence[str], suffixes: Sequence[str]) -> list[tuple[Path, Path]]:
    """Source files of one input, each with its path below the output folder."""
    path = Path(text)
    if _is_plain(text):
        return [(path, Path(path.name))]  # a missing file is reported with the others that fail
    if os.path.isdir(text):
        files = _outside(sorted(_search(path, suffixes)), path, apart)
        return _some([(p, p.relative_to(path)) for p in files], text, suffixes)
    root = Path(*takewhile(lambda part: not has_magic(part), path.parts[:-1]))
    matches = sorted(Path(p) for p in glob(text, recursive=True) if os.path.isfile(p))
    return _some([(p, Path(p.name)) for p in _outside(matches, root, apart)], text, suffixes)


def _search(root: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Files of these suffixes in `root` and below it, in any order; hidden ones and linked folders are left out."""
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.suffix.lower() in suffixes and os.path.isfile(path))


def _outside(paths: list[Path], root: Path, apart: Sequence[str]) -> list[Path]:
    """Without those in folders of `apart` that lie below `root`; one that is `root` is refused later."""
    top = Path(os.path.realpath(root))
    inner = [Path(os.path.realpath(folder)) for folder in apart]
    inner = [folder for folder in inner if folder != top and folder.is_relative_to(top)]
    return [
        path
        for path in paths
        if not any(Path(os.path.realpath(path.parent)).is_relative_to(folder) for folder in inner)
    ]


def _some(pairs: list[tuple[Path, Path]], text: str, suffixes: Sequence[str]) -> list[tuple[Path, Path]]:
    if not pairs:
        raise OptionError(
            text,
            found="no image",
            expected=f"files ending in {', '.join(suffixes)}, outside the output folder",
            mend="Check the path; quote a pattern so that lqhq expands it.",
        )
    return pairs


def _check(pairs: Sequence[FilePair]) -> None:
    read = {os.path.realpath(pair.source) for pair in pairs}
    taken: dict[str, Path] = {}
    for source, target, _ in pairs:
        key = os.path.realpath(target)
        if key in read:
            raise OptionError(
                str(target),
                found="an output that is an input itself",
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
