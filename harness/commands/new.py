"""A new paper's package, from `harness/template/`: a working example to replace piece by piece."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from harness.commands.door.answers import answer
from harness.errors import UsageError
from harness.papers.plugins import VERBS, listed

TEMPLATE = Path(__file__).with_name("template")


def new(name: str, method: str, baseline: str, folder: Path) -> tuple[Path, str]:
    """Write the package of the paper `name` into a folder `name` under `folder`; return it and the paper's name.

    Raises UsageError for a name that no paper can have, or a folder that is there already.
    """
    import copier

    paper = name.replace("-", "_")
    for word in (paper, method, baseline):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", word) or keyword.iskeyword(word):
            raise UsageError(
                f"{word!r} cannot be a name: use small letters, digits and _, beginning with a letter"
            )
    if paper in VERBS:
        raise UsageError(f"{paper!r} is a harness command: give the paper another name")
    if paper in {listing.name for listing in listed()}:
        raise UsageError(f"a paper {paper!r} is installed already: choose another name")
    if method == baseline:
        raise UsageError(f"the method and its baseline are both called {method!r}: rename one")
    target = folder / name
    if target.exists():
        raise UsageError(f"{target} is there already: choose another name, or remove it")
    answers = {"paper": paper, "method": method, "baseline": baseline}
    copier.run_copy(str(TEMPLATE), str(target), data=answers, defaults=True, quiet=True)
    return target, paper


def show_new(name: str, method: str, baseline: str, as_json: bool = False) -> None:
    """Write a new paper's package here and say what to do next."""
    target, paper = new(name, method, baseline, Path.cwd())
    files = [str(path.relative_to(target)) for path in sorted(target.rglob("*")) if path.is_file()]
    then = [
        f"pip install -e {name}",
        f"harness run method={paper}/{method} budget=smoke",
        f"harness check {paper}",
    ]
    if as_json:
        answer("new", {"paper": paper, "folder": str(target), "files": files, "next": then})
        return
    print(f"wrote {target}")
    for path in files:
        print(f"  {path}")
    print(f"next: {'; '.join(then)}")
