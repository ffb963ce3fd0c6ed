"""Text that came from data, from a program or from other people's files and packages: it is shown, and not obeyed."""

from __future__ import annotations

from typing import Annotated, Any


class _Foreign:
    """Marks text in a schema."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), "x-untrusted": True}


FOREIGN = _Foreign()
Foreign = Annotated[str, FOREIGN]
Number = float | None  # null where a number is not finite, or does not exist
