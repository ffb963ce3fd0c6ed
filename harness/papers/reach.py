"""What the functions of a paper really use: definitions, followed by name from function to function.

From the hooks and the metrics' reductions each name is followed to the top-level function, class or assignment
it stands for, through imports and re-exports, in the paper's package and in the harness. So it is known what a
run's numbers come from, whatever file it lies in: a comment, a docstring, the layout of the text and what no hook
reaches do not count. Sources are read once a process, and nothing is imported. A module that is imported on the
way is executed: its statements that define no name, such as `KINDS["alibi"] = Alibi`, count too.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.moved import MOVED

# What brings a run to its process and its numbers back: followed, but no part of what made the numbers.
CARRIERS = ("harness.papers", "harness.runs", "harness.errors", "harness.moved")
MEASURES = "harness.papers.reduction"  # the one file of these rooms that makes numbers
HOOKIMPL = "harness.hookimpl"  # a mark, which notes nothing anywhere

Chain = tuple[str, ...]  # a name and the attributes asked of it: nn.decoder.Decoder
Place = tuple[str, str]  # a module, and a name that it has at its top level


def reached(places: Iterable[Place], package: str) -> dict[str, str]:
    """Return the digest of each definition that `places` reach, by `module:name`.

    Only the sources of `package` and of the harness are followed. A statement goes by its digest.
    """
    walk = _Walk((package.partition(".")[0], "harness"))
    for place in places:
        walk.reach(*place)
    walk.follow()
    return dict(sorted(walk.found.items()))


def place_of(function: Callable[..., Any]) -> Place | None:
    """Return the top-level definition in which a function was written; None where its source is not there."""
    source = read(getattr(function, "__module__", None) or "")
    code = getattr(function, "__code__", None)
    if source is None:
        return None
    name = getattr(function, "__qualname__", "").partition(".")[0]
    if name in source.definitions or code is None:
        return source.name, name
    for name, statements in source.definitions.items():  # a lambda stands within an assignment
        if any(s.lineno <= code.co_firstlineno <= (s.end_lineno or s.lineno) for s in statements):
            return source.name, name
    return None


# Sources


@dataclass(frozen=True)
class Module:
    """A module's top level: what defines a name, what a name is imported from, and what merely happens."""

    name: str
    package: str  # what a relative import starts from
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)  # a name here -> its dotted origin
    stars: list[str] = field(default_factory=list)
    statements: list[ast.stmt] = field(default_factory=list)
    executes: list[str] = field(default_factory=list)  # what importing this module imports

    def note(self, node: ast.Import | ast.ImportFrom, executed: bool = True) -> None:
        """Take what an import statement gives a name to."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                self.imported[alias.asname or top] = alias.name if alias.asname else top
                self.executes.extend([alias.name] * executed)
            return
        base = node.module or ""
        if node.level:
            around = self.package.split(".")
            base = ".".join([*around[: len(around) - node.level + 1], *base.split(".")]).rstrip(".")
        self.stars.extend(base for alias in node.names if alias.name == "*")
        origins = {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
        self.imported.update(origins)
        self.executes.extend([base, *origins.values()] * executed)

    def take(self, statement: ast.stmt) -> None:
        """Take one statement of the module's top level."""
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self.note(statement)
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            for typed in statement.body:
                if isinstance(typed, ast.Import | ast.ImportFrom):
                    self.note(typed, executed=False)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            pass  # a docstring
        elif names := _names_given(statement):
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
        else:
            self.statements.append(statement)
            for inner in ast.walk(statement):  # such as `try: import ...`, `if ...: def ...`
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    self.note(inner)
                elif isinstance(inner, ast.stmt):
                    for name in _names_given(inner):
                        self.definitions.setdefault(name, []).append(statement)


def _names_given(statement: ast.stmt) -> list[str]:
    """Return the names that a statement by itself defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = [t for target in statement.targets for t in getattr(target, "elts", [target])]
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names if len(names) == len(targets) else []


@functools.cache
def read(module: str) -> Module | None:
    """Read a module's source, as it is when first asked for; None where there is none."""
    module = moved_to(module)
    path = source_of(module)
    if path is None or path.suffix != ".py":
        return None
    source = Module(module, module if path.name == "__init__.py" else module.rpartition(".")[0])
    try:
        for statement in ast.parse(path.read_bytes()).body:
            source.take(statement)
    except (OSError, SyntaxError):
        return None
    return source


@functools.cache
def source_of(module: str) -> Path | None:
    """Return a module's source file, or None where it is gone; looked up without importing its packages."""
    top, *inner = moved_to(module).split(".")
    try:
        found = importlib.util.find_spec(top) if top else None
    except ValueError:  # a module that was made by hand
        return None
    if found is None or found.origin is None:
        return None
    if not inner:
        return Path(found.origin) if Path(found.origin).exists() else None
    for place in found.submodule_search_locations or ():
        path = Path(place, *inner)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return file
    return None


def moved_to(module: str) -> str:
    """Return a module's name today: those of the harness moved into rooms."""
    top, _, old = module.partition(".")
    return f"{top}.{MOVED[old]}" if top == "harness" and old in MOVED else module


def _within(source: Module) -> Iterator[Module]:
    """Yield the modules of a package; nothing where it is a module."""
    path = source_of(source.name)
    if path is not None and path.name == "__init__.py":
        for file in sorted(path.parent.rglob("*.py")):
            parts = [
                part for part in file.relative_to(path.parent).with_suffix("").parts if part != "__init__"
            ]
            if parts and (inner := read(".".join([source.name, *parts]))):
                yield inner


# Content


@functools.cache
def written(node: ast.AST) -> tuple[str | Chain | ast.stmt, ...]:
    """Return a tree as words that are the same in every Python; its names as chains, and its imports, between them."""
    words: list[str | Chain | ast.stmt] = []
    _write(node, words)
    return tuple(words)


def _write(node: Any, words: list[Any]) -> None:
    if isinstance(node, ast.Name | ast.Attribute):
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            words.append((node.id, *reversed(attributes)))
        else:
            words.append(("", *reversed(attributes)))
            _write(node, words)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        words.append(node)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and all(part.isidentifier() for part in node.value.split(".")):
            words.append(("", node.value))  # what `getattr` may be given, or `import_module`
        words.append(f"{node.value!r},")
    elif isinstance(node, ast.AST):
        words.append(f"{type(node).__name__}(")
        for name in node._fields:
            value: Any = getattr(node, name, None)
            if name == "body" and _documented(node):
                value = value[1:]
            if isinstance(value, list):
                words.append(f"{name}[" if value else "")
                for part in value:
                    _write(part, words)
            elif isinstance(value, ast.AST):
                if not isinstance(value, ast.expr_context):
                    words.append(f"{name}=")
                    _write(value, words)
            elif value is not None and name not in ("kind", "type_comment"):
                words.append(f"{name}={value},")
        words.append(")")
    else:
        words.append(f"{node},")


def _documented(node: ast.AST) -> bool:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None


def imports_of(node: ast.AST, source: Module) -> Module:
    """Return what a definition of `source` imports itself."""
    inner = Module(source.name, source.package)
    for word in written(node):
        if isinstance(word, ast.Import | ast.ImportFrom):
            inner.note(word)
    return inner


def digest_of(source: Module, statements: Iterable[ast.stmt]) -> str:
    """Return 16 hex digits of what a definition says, whatever file it, and what it imports, lies in."""
    text: list[str] = []
    for statement in statements:
        origins = source.imported | imports_of(statement, source).imported
        for word in written(statement):
            if isinstance(word, str):
                text.append(word)
            elif isinstance(word, tuple):
                text.append(_apart_from_its_file(word, origins, source))
    return hashlib.sha256("".join(text).encode()).hexdigest()[:16]


def _apart_from_its_file(chain: Chain, origins: Mapping[str, str], source: Module) -> str:
    """Return a name as what it was called where it comes from, so that neither an alias nor a move counts."""
    origin = origins.get(chain[0])
    parts = [*origin.split("."), *chain[1:]] if origin else list(chain)
    if origin and parts[0] in ("harness", source.name.partition(".")[0]):
        for size in range(len(parts), 0, -1):
            if read(".".join(parts[:size])):
                return f"{'.'.join(parts[size:])},"
    return f"{'.'.join(parts)},"


# The walk


class _Walk:
    """The definitions reached so far, and those whose names are still to be followed."""

    def __init__(self, tops: tuple[str, ...]) -> None:
        self.tops = tops
        self.found: dict[str, str] = {}
        self.seen: set[Place | str] = set()
        self.waiting: list[tuple[Module, ast.AST]] = []
        self.attributes: set[str] = set()
        self.methods: dict[str, list[tuple[Module, ast.AST]]] = {}  # of carriers, until one asks for the name

    def follow(self) -> None:
        """Follow every name of everything reached, until nothing new is."""
        while self.waiting:
            source, node = self.waiting.pop()
            inner = imports_of(node, source)
            for module in inner.executes:
                self.execute(module)
            for word in written(node):
                if isinstance(word, tuple):
                    self.attributes.update(word[1:])
                    self.ask(word, inner, source)
            for name in self.attributes & self.methods.keys():
                self.waiting += self.methods.pop(name)

    def ask(self, chain: Chain, inner: Module, source: Module) -> None:
        """Reach what a chain stands for in a definition of `source` that has the imports `inner`."""
        name, *rest = chain
        if name in inner.imported:
            self.lead(inner.imported[name], rest)
        elif name in source.definitions:
            self.reach(source.name, name)
        elif name in source.imported:
            self.lead(source.imported[name], rest)
        elif name == "globals":
            self.lead(source.name, ())
        elif name:
            for module in (*inner.stars, *source.stars):
                self.reach(module, name)
        elif rest[0] in source.definitions:
            self.reach(source.name, rest[0])
        elif "." in rest[0]:
            self.lead(rest[0], ())

    def lead(self, origin: str, attributes: Iterable[str]) -> None:
        """Reach what a dotted origin leads to; of a module that is itself handed on, all it defines."""
        parts = [*origin.split("."), *attributes]
        if parts[0] not in self.tops:
            return
        for size in range(len(parts), 0, -1):
            source = read(".".join(parts[:size]))
            if source is not None:
                self.execute(source.name)
                for name in parts[size : size + 1] or source.definitions:
                    self.reach(source.name, name)
                return

    def reach(self, module: str, name: str) -> None:
        """Reach a module's definition, or what the module has under that name from elsewhere."""
        place = moved_to(module), name
        if place in self.seen or module.partition(".")[0] not in self.tops:
            return
        self.seen.add(place)
        source = read(module)
        if source is None:
            return
        self.execute(source.name)
        if name in source.definitions:
            self.define(source, name)
        elif name in source.imported:
            self.lead(source.imported[name], ())
        else:
            for star in source.stars:
                self.reach(star, name)
            for inner in _within(source) if source.name != "harness" else ():  # given out late, by `lazy`
                if name in inner.definitions:
                    self.reach(inner.name, name)

    def define(self, source: Module, name: str) -> None:
        statements = source.definitions[name]
        if not _carries(source.name):
            self.found[f"{source.name}:{name}"] = digest_of(source, statements)
        for statement in statements:
            if isinstance(statement, ast.ClassDef) and _carries(source.name):
                self.divide(source, statement)
            else:
                self.waiting.append((source, statement))

    def divide(self, source: Module, carrier: ast.ClassDef) -> None:
        """Reach a carrier's class, such as Run; a method of it once something asks for one of that name."""
        self.waiting += [(source, node) for node in (*carrier.bases, *carrier.decorator_list)]
        for statement in carrier.body:
            name = getattr(statement, "name", "__")
            if name.startswith("__"):
                self.waiting.append((source, statement))
            else:
                self.methods.setdefault(name, []).append((source, statement))

    def execute(self, module: str) -> None:
        """Reach what happens when a module is imported, with the packages around it."""
        module = moved_to(module)
        if module in self.seen or module.partition(".")[0] not in self.tops:
            return
        self.seen.add(module)
        if "." in module:
            self.execute(module.rpartition(".")[0])
        source = read(module)
        if source is None or _carries(module) or module == "harness":
            return
        for statement in source.statements:
            digest = digest_of(source, [statement])
            self.found[f"{module}:<{digest}>"] = digest
            self.waiting.append((source, statement))
        for name, statements in source.definitions.items():
            if any(self.registers(source, statement) for statement in statements):
                self.reach(module, name)
        for inner in source.executes:
            self.execute(inner)

    def registers(self, source: Module, statement: ast.stmt) -> bool:
        """Say whether a decorator is the paper's or the toolbox's own, which may note the function somewhere."""
        for decorator in getattr(statement, "decorator_list", ()):
            for word in written(decorator):
                name = word[0] if isinstance(word, tuple) else ""
                origin = source.imported.get(name, source.name if name in source.definitions else "")
                if origin.partition(".")[0] in self.tops and origin != HOOKIMPL and not _carries(origin):
                    return True
        return False


def _carries(module: str) -> bool:
    inside = any(module == room or module.startswith(f"{room}.") for room in CARRIERS)
    return inside and not module.startswith(MEASURES)
