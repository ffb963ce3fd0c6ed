"""A progress bar a step, with tokens a second; on stderr, and silent where that is no terminal."""

from __future__ import annotations

from typing import Any, Self


class Bars:
    """Shows steps: `with Bars() as bars: bars("answers", done, total, tokens_per_second=90.0)`."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(
            *columns, TextColumn("{task.fields[rate]}"), console=console, disable=not console.is_terminal
        )
        self.steps: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, step: str, done: int, total: int, tokens_per_second: float = 0.0) -> None:
        """Show how far a step is."""
        if step not in self.steps:
            self.steps[step] = self.progress.add_task(step, total=total, rate="")
        rate = f"{tokens_per_second:,.0f} tokens/s" if tokens_per_second else ""
        self.progress.update(self.steps[step], completed=done, total=total, rate=rate)
