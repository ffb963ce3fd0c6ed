#!/usr/bin/env python3
"""Build what a release uploads, look into it, install it in a clean environment, and run the demo there.

    .ci/dist.py                  # or make dist: archives in dist/, the demo at its own budget
    .ci/dist.py budget=smoke     # further words go to the demo
    .ci/dist.py --into FOLDER    # only build and look

Each project gets an sdist and the wheel that is built from it. A wheel must hold every module, configuration, page and
licence of its sources, and nothing else. The environment takes the packages of `requirements.lock`, by hash, unless
`HARNESS_DIST_LOCK=no` says that this machine has its own (a torch without CUDA): then their versions are
`constraints.txt`'s.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = {".yaml", ".yml", ".jinja", ".json", ".jsonl", ".md", ".toml", ".typed"}


def projects() -> list[Path]:
    """Return the core's folder and those of its papers."""
    return [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]


def package(project: Path) -> Path:
    """Return the folder of a project's package."""
    return ROOT / "harness" if project == ROOT else next(project.glob("harness_*/__init__.py")).parent


def sources(project: Path) -> set[str]:
    """Return the tracked files of a project's package, as a wheel names them; the core's include `conf/`."""
    home = package(project).parent
    listed = subprocess.run(
        ["git", "ls-files", "-z", "."], cwd=package(project), capture_output=True, check=True
    )
    names = {
        f"{package(project).relative_to(home)}/{name}" for name in listed.stdout.decode().split("\0") if name
    }
    if project == ROOT:
        conf = subprocess.run(["git", "ls-files", "-z", "conf"], cwd=ROOT, capture_output=True, check=True)
        names |= {f"harness/{name}" for name in conf.stdout.decode().split("\0") if name}
        names.discard("harness/conf")  # a link to conf/
    return {name for name in names if name.endswith(".py") or Path(name).suffix in DATA}


def problems(project: Path, wheel: Path, sdist: Path) -> list[str]:
    """Return what a wheel or an sdist lacks, or holds and should not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    told = {name for name in names if ".dist-info/" not in name}
    wanted = sources(project)
    found = [f"{wheel.name} lacks {name}" for name in sorted(wanted - told)]
    found += [
        f"{wheel.name} holds {name}" for name in sorted(told - wanted) if not name.endswith("/py.typed")
    ]
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    found += [
        f"{sdist.name} holds {name}" for name in sorted(inside) if name.startswith(("tests/", "results/"))
    ]
    if project == ROOT:
        found += [
            f"{wheel.name} has no {licence}"
            for licence in ("LICENSE", "NOTICE")
            if not any(name.endswith(f".dist-info/licenses/{licence}") for name in names)
        ]
    return found


def build(into: Path, apart: bool) -> list[str]:
    """Build every project into a folder, `apart` from this environment; return what is wrong with what was built."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    found = []
    for project in projects():
        with tempfile.TemporaryDirectory() as place:
            words = ["build", *([] if apart else ["--no-isolation"]), "--outdir", place, str(project)]
            made = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
            if made.returncode:
                return [*found, f"{project.name} cannot be built: {made.stdout}{made.stderr}"]
            (wheel,), (sdist,) = Path(place).glob("*.whl"), Path(place).glob("*.tar.gz")
            found += problems(project, wheel, sdist)
            for path in (wheel, sdist):
                shutil.move(path, into / path.name)
                print(f"{path.name}: {(into / path.name).stat().st_size:,} bytes", flush=True)
    return found


def tried(dist: Path, words: list[str]) -> None:
    """Install the wheels in a clean environment and run the demo from an empty folder."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "venv", f"{place}/env"], check=True)
        pip = [f"{place}/env/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wheels = sorted(map(str, dist.glob("*.whl")))
        if os.environ.get("HARNESS_DIST_LOCK") != "no":
            lock = ["--require-hashes", "-r", str(ROOT / "requirements.lock")]
            subprocess.run([*pip, "--no-deps", *lock], check=True)
            subprocess.run([*pip, "--no-deps", *wheels], check=True)
        else:
            subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *wheels], check=True)
        harness = f"{place}/env/bin/harness"
        empty = Path(place) / "empty"
        empty.mkdir()
        for command in (
            [harness, "papers", "-v"],
            [harness, "run", "-m", "+experiment=quickstart", *words],
            [harness, "report", "alibi"],
        ):
            subprocess.run(command, cwd=empty, check=True)


def main() -> int:
    """Build, look, install, run; return 1 where an archive is not as it should be."""
    parser = argparse.ArgumentParser(description="Build a release, look into it, install it, run the demo.")
    parser.add_argument("--into", type=Path, help="only build into this folder, and look")
    asked, words = parser.parse_known_args()
    into = asked.into or ROOT / "dist"
    found = build(into, apart=asked.into is None)
    for line in found:
        print(line, file=sys.stderr)
    if not found and asked.into is None:
        tried(into, words)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
