"""Whether a bundle was shown to be its model: no one is served that was not, unless whoever runs the server says so."""

from __future__ import annotations

from lqhq.runtime.errors import BundleError
from lqhq.runtime.manifest import Manifest

__all__ = ["is_verified", "require_verified"]


def is_verified(manifest: Manifest, precision: str) -> bool:
    """Whether the graphs of `precision` were compared with the reference at export, and every comparison passed."""
    records = [record for record in manifest.parity if record.precision == precision]
    return bool(records) and all(record.passed for record in records)


def require_verified(manifest: Manifest, precision: str) -> None:
    """Raise `BundleError` for a bundle that is not verified in `precision`."""
    if is_verified(manifest, precision):
        return
    failed = [one.what for one in manifest.parity if one.precision == precision and not one.passed]
    raise BundleError(
        "parity",
        found=f"a failed comparison of {', '.join(failed)}" if failed else f"no record for {precision}",
        expected="comparisons with the model's own program that passed",
        mend="Export the checkpoint again; --allow-unverified serves it all the same.",
    )
