"""Read a bundle from a program: what its graphs take and give, and its schedules, row by row.

    python examples/inspect_bundle.py [BUNDLE]

BUNDLE is a folder that `lqhq export` wrote; without it, the demo bundle. `lqhq inspect BUNDLE` says more.
"""

from __future__ import annotations

import sys

from lqhq.runtime import open_bundle


def main() -> None:
    bundle = open_bundle(sys.argv[1] if len(sys.argv) > 1 else "demo")  # checks every digest
    manifest = bundle.manifest
    print(f"{manifest.name}: {manifest.task}, x{manifest.scale}, family {manifest.family}")

    for role, variants in manifest.graphs.items():
        for precision, graph in variants.items():
            inputs = ", ".join(f"{name}{list(tensor.shape)}" for name, tensor in graph.inputs.items())
            outputs = ", ".join(f"{name}{list(tensor.shape)}" for name, tensor in graph.outputs.items())
            print(f"graph {role}.{precision}: {inputs} -> {outputs}")

    for name, schedule in manifest.schedules.items():
        default = " (default)" if name == manifest.default_schedule else ""
        print(f"schedule {name}{default}: {schedule.about}")
        print(f"  start: {schedule.start.c_img:g} * image + {schedule.start.c_noise:g} * noise")
        for row in schedule.rows:
            print(f"  t={row.t:g}: next = {row.c_state:g} * state + {row.c[0]:g} * v, noise {row.sigma:g}")

    for licence in manifest.licences:
        print(f"licence of {licence.part}: {licence.licence}")


if __name__ == "__main__":
    main()
