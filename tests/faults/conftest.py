"""The longest files come first, so that no worker waits for them at the end; what trains nothing has no torch."""

from pathlib import Path

from benchmarks.torture import STAND_INS

HERE = Path(__file__).parent
LONGEST = (
    "test_torture.py",
    "test_referee.py",
    "test_storm.py",
    "test_team.py",
    "test_asked_to_end.py",
    "test_kills.py",
)


def pytest_collection_modifyitems(items):
    names = {HERE / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: names.get(item.path, len(names)))


def without_torch(folder: Path) -> None:
    """Put stand-ins for the libraries that take seconds to import into a folder that is in PYTHONPATH."""
    for name, content in STAND_INS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
