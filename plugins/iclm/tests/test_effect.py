"""The effect, really trained: where a related context tells what comes, in-context pretraining learns to look."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def topical(path: Path, documents: int = 1500, topics: int = 60) -> Path:
    """Write documents of twelve words, nearly all out of their topic's six of a common hundred."""
    random = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "bdfgklmnpr" for b in ("a", "e", "i", "o", "u", "an", "en", "in", "on", "un")]
    own = [random.permutation(words)[:6] for _ in range(topics)]
    with path.open("w") as file:
        for number in range(documents):
            topic = own[random.integers(topics)]
            text = " ".join(
                random.choice(topic if random.random() < 0.9 else words, size=1)[0] for _ in range(12)
            )
            file.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")
    return path


def test_a_model_trained_on_related_windows_gains_from_a_related_context(tmp_path):
    corpus = topical(tmp_path / "corpus.jsonl")
    task = {
        "length": 64,
        "vocabulary": 400,
        "width": 48,
        "feedforward": 96,
        "steps": 300,
        "threshold": 0.9999,
    }
    done = subprocess.run(
        [
            sys.executable, "-m", "harness", "run", "-m", "method=iclm/random,iclm/in_context,iclm/in_context_masked",
            f"data.corpus={corpus}", "tracking=off", "device=cpu", "tuned=false",
            *(f"task.{k}={v}" for k, v in task.items()),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for path in tmp_path.rglob("result.json"):
        result = json.loads(path.read_text())
        found[result["config"]["name"]] = result["metrics"]
    assert found["in_context"]["context_gain"] > found["random"]["context_gain"] + 0.05
    assert found["in_context"]["context_gain"] > found["in_context_masked"]["context_gain"] + 0.05
    assert found["in_context"]["loss_related_later"] < found["random"]["loss_related_later"]
