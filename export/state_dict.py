"""Names of tensors: taking prefixes off, renaming, and the strict comparison with a network.

Every change is written into `notes`; two tensors that end up under one name are an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from lqhq.export.foreign_text import printable
from lqhq.runtime.errors import CheckpointError

__all__ = [
    "WRAPPERS",
    "fill",
    "rename",
    "require_match",
    "rows",
    "select_prefix",
    "strip_wrappers",
]

# DataParallel and torch.compile put these before every name; no network that we load has a part called so.
WRAPPERS = ("module.", "_orig_mod.")
SHOWN = 4  # wrong keys listed per kind; enough to see the pattern


def strip_wrappers(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Take `module.` and `_orig_mod.` off, where every name has it."""
    result = dict(tensors)
    while prefix := next((w for w in WRAPPERS if all(name.startswith(w) for name in result)), None):
        result = {name.removeprefix(prefix): tensor for name, tensor in result.items()}
        notes.append(f"took the prefix {prefix!r} off all {len(result)} names")
    return result


def select_prefix(where: str, tensors: Mapping[str, Tensor], prefix: str, notes: list[str]) -> dict[str, Tensor]:
    """The tensors under `prefix`, without it; the others are set aside and reported."""
    result = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not result:
        raise CheckpointError(
            where,
            found=f"no name that starts with {prefix!r}, but {shown(tensors)}",
            expected="key_prefix as the names begin",
            mend="Correct or leave out key_prefix.",
        )
    notes.append(f"took the {len(result)} tensors under {prefix!r}")
    if aside := [name for name in tensors if not name.startswith(prefix)]:
        notes.append(f"set aside {len(aside)} others: {shown(aside)}")
    return result


def rename(
    where: str, tensors: Mapping[str, Tensor], change: Callable[[str], str], notes: list[str]
) -> dict[str, Tensor]:
    """Apply `change` to every name. Raises `CheckpointError` when two tensors meet under one name."""
    result: dict[str, Tensor] = {}
    changed = []
    for name, tensor in tensors.items():
        new = change(name)
        if new in result:
            raise CheckpointError(
                where,
                found=f"two tensors that both mean {new}",
                expected="one tensor per name",
                mend="Save the checkpoint again from one model.",
            )
        result[new] = tensor
        if new != name:
            changed.append(f"{name} -> {new}")
    if changed:
        notes.append(f"renamed {len(changed)} tensors: {shown(changed)}")
    return result


def shown(names: Iterable[str]) -> str:
    """The first few names and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(printable(name) for name in names[:SHOWN]) + more


def rows(where: str, tensors: Mapping[str, Tensor], name: str, dim: int = 0) -> int:
    """The size of a tensor's dimension. Raises `CheckpointError` when the tensor is missing."""
    tensor = tensors.get(name)
    if tensor is None or tensor.dim() <= dim:
        raise CheckpointError(
            where,
            found=f"no usable tensor {name}, but {shown(tensors)}",
            expected=f"{name} with at least {dim + 1} dimensions",
            mend="The checkpoint is incomplete or of another network.",
        )
    return tensor.shape[dim]


CONFIGURE = "Correct the config, or choose another --format."


def require_match(
    where: str, network: nn.Module, tensors: Mapping[str, Tensor], *, told: str, mend: str = CONFIGURE
) -> None:
    """Names and shapes of `tensors` are those of `network`, which may be on the meta device; `told` says by what.

    Raises `CheckpointError` that lists the first missing, unexpected and wrong-shaped names, and those that hold
    whole numbers or booleans where the network has floats.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    wrong = [
        f"{name} {list(tensors[name].shape)} instead of {list(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    whole = [
        f"{name} {tensors[name].dtype}"
        for name in own
        if name in tensors and own[name].is_floating_point() and not tensors[name].is_floating_point()
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong, "not floating": whole}
    if any(kinds.values()):
        raise CheckpointError(
            where,
            found="; ".join(f"{len(names)} {kind}: {shown(names)}" for kind, names in kinds.items() if names),
            expected=f"the {len(own)} tensors {told}",
            mend=mend,
        )


def fill(where: str, network: nn.Module, tensors: Mapping[str, Tensor], *, mend: str = CONFIGURE) -> None:
    """Copy `tensors` into `network` as fp32 and set it to eval; names and shapes must match exactly.

    Raises `CheckpointError` as `require_match` does.
    """
    require_match(where, network, tensors, told=f"of {type(network).__name__} as configured", mend=mend)
    with torch.no_grad():
        network.load_state_dict(dict(tensors), strict=True)
    network.float().eval().requires_grad_(False)
