"""The longest files come first, so that no worker waits for them at the end; what trains nothing has no torch."""

from pathlib import Path

from benchmarks.torture import STAND_INS

ROOT = Path(__file__).parents[2]
LONGEST = (
    "tests/faults/test_torture.py",
    "tests/faults/test_storm.py",
    "tests/faults/test_team.py",
    "tests/faults/test_referee.py",
    "tests/faults/test_kills.py",
    "tests/faults/test_asked_to_end.py",
    "tests/faults/test_launchers.py",
    "tests/runs/test_processes.py",
    "plugins/magpie/tests/test_synthesis.py",
)


def pytest_collection_modifyitems(items):
    places = {ROOT / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def without_torch(folder: Path) -> None:
    """Put stand-ins for the libraries that take seconds to import into a folder that is in PYTHONPATH."""
    for name, content in STAND_INS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
