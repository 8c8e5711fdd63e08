"""Runs the command `lqhq` as it is, and says at the end what the process peaked at.

python -m measuring.command_line FILE ARGUMENT...     the peak in bytes goes to FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from lqhq.tools.cli.main import run
from measuring.peak_rss import peak_rss

if __name__ == "__main__":
    code = run(sys.argv[2:])
    Path(sys.argv[1]).write_text(str(peak_rss()), encoding="ascii")
    sys.exit(code)
