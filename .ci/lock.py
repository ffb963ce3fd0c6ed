#!/usr/bin/env python3
"""Write requirements.lock: one version of every package that the harness and its papers need, with its hashes.

    .ci/lock.py            # or make lock

`constraints.txt` says which versions were tested; uv finds the rest, for Python 3.11 and later on every platform. Then

    pip install --no-deps --require-hashes -r requirements.lock
    pip install --no-deps paper-harness paper-harness-alibi

It is whole, so nothing is left to resolve; and pip 23.2 looks for `typepy[datetime]<3` beyond its pin.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Every package that the harness and its eight papers need, with hashes; written by `make lock`.
#   pip install --no-deps --require-hashes -r requirements.lock
#   pip install --no-deps paper-harness paper-harness-alibi
"""


def needed() -> list[str]:
    """Return what the core and the papers ask for, but for one another."""
    found: set[str] = set()
    for path in (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))):
        asked = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
        found |= {line for line in asked if not line.startswith("paper-harness")}
    return sorted(found)


def main() -> int:
    """Resolve and write the file; return uv's exit code where it cannot."""
    with tempfile.TemporaryDirectory() as place:
        asked, locked = Path(place) / "asked.txt", Path(place) / "locked.txt"
        asked.write_text("\n".join(needed()), encoding="utf-8")
        words = ["pip", "compile", "--no-config", "--native-tls", "--universal", "--python-version", "3.11"]
        words += ["--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--quiet"]
        words += [str(asked), "--constraint", str(ROOT / "constraints.txt"), "--output-file", str(locked)]
        done = subprocess.run([sys.executable, "-m", "uv", *words])
        if done.returncode == 0:
            (ROOT / "requirements.lock").write_text(
                HEAD + locked.read_text(encoding="utf-8"), encoding="utf-8"
            )
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
