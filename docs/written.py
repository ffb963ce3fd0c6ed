"""Write the parts of the pages that come from the code: `python docs/written.py`, or `make pages`.

A line `::: harness.Paper` in a page becomes that name's signature and docstring, a module's a table of its public
names, `::: examples/min_p/...` a file of an example; what was written stays between two comments, and is made anew each
time. The page is so read as a file as well as on the site. `architecture.md` gets its picture from the imports. A test
fails where a page lags behind.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

DOCS = Path(__file__).parent
HARNESS = DOCS.parent / "harness"
PAGES = ("api.md", "hooks.md", "architecture.md", "plugin.md", "sampler.md")
BLOCK = re.compile(r"^(?:<!-- ::: (\S+) -->\n.*?^<!-- ::: -->|::: (\S+))$", flags=re.M | re.S)
PICTURE = "harness/"  # what `::: harness/` stands for: the rooms, drawn from their imports
GROUND = ("errors", "numbers", "moved")


def written(text: str) -> str:
    """Return a page's text with all that comes from the code written anew."""

    def block(found: re.Match[str]) -> str:
        name = found.group(1) or found.group(2)
        said = picture() if name == PICTURE else shown(name) if "/" in name else reference(name)
        return f"<!-- ::: {name} -->\n{said}\n<!-- ::: -->"

    return BLOCK.sub(block, text)


def shown(name: str) -> str:
    """Return a file of an example as a block whose title says where it goes in a package of the reader's own."""
    kinds = {".py": "python", ".yaml": "yaml", ".toml": "toml"}
    kind, title = kinds[Path(name).suffix], name.removeprefix("examples/")
    return f'```{kind} title="{title}"\n{(DOCS.parent / name).read_text(encoding="utf-8")}```'


# The reference


def reference(name: str) -> str:
    """Return what there is to say of a dotted name: its signature and docstring, or a module's names."""
    thing = found(name)
    if isinstance(thing, ModuleType):
        return "\n".join(
            [f"### `{name}`", "", _doc(thing), "", "| name | what it is |", "| --- | --- |", *_rows(thing)]
        )
    lines = [f"### `{name.rpartition('.')[2]}`", "", _code(name, thing), "", _doc(thing)]
    if inspect.isclass(thing) and not issubclass(thing, enum.Enum):
        for member, method in vars(thing).items():
            target = method.fget if isinstance(method, property) else method
            if not member.startswith("_") and inspect.isfunction(target) and target.__doc__:
                label = f"{thing.__name__}.{member}"
                code = [] if isinstance(method, property) else ["", _code(label, target)]
                lines += ["", f"#### `{label}`", *code, "", _doc(target)]
    return "\n".join(lines)


def found(name: str) -> Any:
    """Return the module, class, function or value that a dotted name means."""
    package, *parts = name.split(".")
    thing, path = importlib.import_module(package), package
    for part in parts:
        path = f"{path}.{part}"
        thing = getattr(thing, part) if hasattr(thing, part) else importlib.import_module(path)
    return thing


def public(module: ModuleType) -> list[str]:
    """Return the names that a module offers: those it lists, or those it defines, constants included."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    constants = {name for name in vars(module) if name.isupper() and name != "TYPE_CHECKING"}
    own = {
        name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__
    }
    return sorted(name for name in own | constants if not name.startswith("_"))


def _rows(module: ModuleType) -> Iterator[str]:
    for name in public(module):
        thing = getattr(module, name)
        constant = not (inspect.isclass(thing) or inspect.isroutine(thing))
        said = (
            f"`{_value(thing)}`"
            if constant
            else _doc(thing).split("\n\n")[0].split(". ")[0].rstrip(".") + "."
        )
        yield f"| `{name}` | {' '.join(said.split()).replace('|', chr(92) + '|')} |"


def _doc(thing: Any) -> str:
    """Return a docstring, without what it says to those who work in the house."""
    said = inspect.getdoc(inspect.unwrap(thing)) or ""
    if said.startswith(f"{getattr(thing, '__name__', '')}("):  # made up by dataclass
        return ""
    return re.sub(r"\n*^May import: .*$\n?", "\n", said, flags=re.M).strip()


def _code(name: str, thing: Any) -> str:
    thing = inspect.unwrap(thing)
    kind = "class " if inspect.isclass(thing) else "def "
    last = name.rpartition(".")[2]
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        members = [f"    {member.name} = {member.value!r}" for member in thing]
        return "\n".join(["```python", f"class {last}(Enum)", *members, "```"])
    signature = inspect.signature(thing)
    shown = list(_parameters(signature))
    end = (
        "" if signature.return_annotation is signature.empty else f" -> {_type(signature.return_annotation)}"
    )
    if inspect.isclass(thing):
        end = ""
    one = f"{kind}{last}({', '.join(shown)}){end}"
    if len(one) > 100:
        one = "\n".join([f"{kind}{last}(", *(f"    {word}," for word in shown), f"){end}"])
    return f"```python\n{one}\n```"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    starred = False
    for parameter in signature.parameters.values():
        if parameter.name.startswith("_") or parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            yield "*"
        starred |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
        kind = "" if parameter.annotation is parameter.empty else f": {_type(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
        yield f"{stars}{parameter.name}{kind}{default}"


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _value(value: Any) -> str:
    """Return a value as one would write it; "..." for what has no short form."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}(...)"
    text = repr(value)
    return "..." if text.startswith("<") or " at 0x" in text or len(text) > 60 else text


# The picture


def arrows() -> dict[str, set[str]]:
    """Return the rooms of the core and, of each, those that its files import; the template is none of them."""
    rooms = {
        path.stem for path in HARNESS.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    rooms -= {"__init__", "__main__", "conf", *GROUND}
    found: dict[str, set[str]] = {room: set() for room in sorted(rooms)}
    for room in found:
        for path in (HARNESS / room).rglob("*.py") if (HARNESS / room).is_dir() else [HARNESS / f"{room}.py"]:
            if "template" not in path.parts:
                found[room] |= _imported(path) & rooms - {room}
    return found


def _imported(path: Path) -> set[str]:
    """Return the rooms that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("harness.")}


def picture() -> str:
    """Draw the rooms; an arrow that others imply is left out."""
    graph = arrows()
    lines = ["```mermaid", "graph TD"]
    for room, targets in graph.items():
        implied = {far for near in targets for far in _reached(near, graph)}
        lines += [f"  {room} --> {target}" for target in sorted(targets - implied)]
    return "\n".join([*lines, "```"])


def _reached(room: str, graph: dict[str, set[str]]) -> set[str]:
    """Return all that a room imports, itself or by way of others. Raises RecursionError where there is a circle."""
    return graph[room] | {far for near in graph[room] for far in _reached(near, graph)}


if __name__ == "__main__":
    from harness.commands.listing import schemas

    for name, text in schemas().items():
        (DOCS / "schemas" / f"{name}.schema.json").write_text(text, encoding="utf-8")
    for page in PAGES:
        path = DOCS / page
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
