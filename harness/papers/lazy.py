"""Public names that are imported when first used, so that a plugin's `__init__` stays light."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def lazy(package: str, names: dict[str, str]) -> Callable[[str], Any]:
    """Return a module `__getattr__` that finds each public name in its submodule on first use.

    `names` maps a public name to the submodule that defines it:
    `__getattr__ = lazy(__name__, {"slopes": "bias"})`.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return __getattr__
