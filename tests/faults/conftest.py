"""The longest files come first, so that no worker waits for them at the end."""

LONGEST = ("test_torture.py", "test_referee.py", "test_storm.py", "test_team.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.parent.name != "faults" or item.path.name not in LONGEST)
