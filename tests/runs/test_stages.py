"""Stages: made once, whole or not at all, by one process for all."""

import subprocess
import sys

from harness.tools import shared


def test_processes_of_one_command_share_the_shards_of_a_step(tmp_path):
    script = (
        "import sys, time, pathlib; from harness.tools import shared\n"
        "def make(i, folder): time.sleep(0.3); (folder / 'by').write_text(sys.argv[1])\n"
        "shared(pathlib.Path('stages'), 'step', [{'part': i} for i in range(4)], make, lambda *_: 0)"
    )
    both = [subprocess.Popen([sys.executable, "-c", script, who], cwd=tmp_path) for who in ("a", "b")]
    assert [process.wait(60) for process in both] == [0, 0]
    made = shared(
        tmp_path / "stages", "step", [{"part": i} for i in range(4)], lambda *_: 1 / 0, lambda *_: 0
    )
    assert {(folder / "by").read_text() for folder in made} <= {"a", "b"}
    assert len(made) == len(set(made)) == 4
