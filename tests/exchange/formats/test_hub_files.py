"""What goes to a hub: scores by its own writer, and pull requests, against a hub that stands on this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from harness.commands.push import show_push
from harness.errors import HarnessError, UsageError
from harness.exchange.formats.eval_results import exported
from harness.exchange.formats.naming import HubSet, hub_set, slug
from harness.exchange.hub import Parcel, packed, pushed
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_sweep

ON_HUB = {"corpus": "hub:some/set@5503434d#default/test"}


def test_scores_on_the_hubs_data_are_read_by_its_own_reader(tmp_path):
    records = write_sweep(tmp_path, data=ON_HUB)
    cards = judge("toy", PAPER, records)
    found = exported("toy", cards, records)
    assert set(found) == {f"toy-{name}/.eval_results/toy.yaml" for name in ("toy", "plain", "chance")}
    entries = parse_eval_result_entries(yaml.safe_load(found["toy-toy/.eval_results/toy.yaml"]))
    own = next(method for method in cards[0]["methods"] if method["method"] == "toy")
    assert {entry.task_id: entry.value for entry in entries} == {
        f"default/test/{metric}": summary["mean"] for metric, summary in own["metrics"].items()
    }
    assert {(entry.dataset_id, entry.dataset_revision) for entry in entries} == {("some/set", "5503434d")}
    assert "mean over 5 seeds" in entries[0].notes
    assert own["run_keys"][0][:16] in entries[0].notes


def test_data_of_ones_own_have_no_such_scores(tmp_path):
    records = write_sweep(tmp_path, seeds=1)
    with pytest.raises(UsageError, match="read a data set of the hub"):
        exported("toy", judge("toy", PAPER, records), records)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("hub:some/set", HubSet("some/set")),
        ("hub:glue@abc#mrpc/test?text:sentence1", HubSet("glue", "abc", "mrpc/test")),
        ("hub:/home/me/set", None),
        ("hub:../set", None),
        ("some/set.csv", None),
        ("builtin:python", None),
    ],
)
def test_what_is_on_the_hub_is_told_by_its_name(source, told):
    assert hub_set(source) == told


def test_a_name_is_one_file_and_no_two_names_are_the_same():
    odd = ["a", "a/b", "a b", "../b", "con", "CON", "data", "ü", "", "x" * 300, "x" * 301, ".hidden"]
    names = [slug(name) for name in odd]
    assert len({name.lower() for name in names}) == len(odd)
    assert all(name and "/" not in name and name[0] != "." and len(name) < 120 for name in names)


class Hub:
    """A hub on this machine that takes commits: the part of its interface that a pull request needs."""

    def __init__(self, folder):
        self.refuses = False
        hub = self
        self.asked = asked = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append((self.path, self.headers.get("Authorization")))
                if "/validate-yaml" in self.path:
                    answer = {"errors": [], "warnings": []}
                elif "/preupload/" in self.path:
                    named = [one["path"] for one in json.loads(body)["files"]]
                    how = {"uploadMode": "regular", "shouldIgnore": False}
                    answer = {"files": [{"path": path, **how} for path in named]}
                elif hub.refuses:
                    return self.answer(403, {"error": "this is not yours"})
                else:
                    for line in map(json.loads, body.splitlines()):
                        if line["key"] == "file":
                            place = folder / line["value"]["path"]
                            place.parent.mkdir(parents=True, exist_ok=True)
                            place.write_bytes(base64.b64decode(line["value"]["content"]))
                    answer = {
                        "commitUrl": "https://huggingface.co/some/model/commit/1",
                        "commitOid": "1",
                        "pullRequestUrl": "https://huggingface.co/some/model/discussions/7",
                    }
                return self.answer(200, answer)

            def answer(self, code, value):
                body = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import HfApi, constants

    found = Hub(tmp_path / "hub")
    monkeypatch.setattr(constants, "ENDPOINT", found.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    init = HfApi.__init__
    monkeypatch.setattr(
        HfApi, "__init__", lambda self, **given: init(self, **{**given, "endpoint": found.address})
    )
    yield found
    found.server.shutdown()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "out"
    (made / ".eval_results").mkdir(parents=True)
    (made / "README.md").write_text("a card")
    (made / ".eval_results" / "toy.yaml").write_text("- value: 1\n")
    (made / ".git").mkdir()
    (made / ".git" / "config").write_text("secret")
    return made


def test_nothing_goes_unless_it_is_asked_for(folder, hub, capsys, tmp_path):
    assert show_push([str(folder)], "some/model", "model", False, tmp_path) == 0
    printed = capsys.readouterr().out
    assert "2 files would go to some/model as a pull request: add --yes to open it" in printed
    assert "README.md" in printed
    assert hub.asked == []


def test_a_pull_request_holds_the_folders_files(folder, hub, capsys, tmp_path):
    assert show_push([str(folder)], "some/model", "model", True, tmp_path) == 0
    assert capsys.readouterr().out.endswith("2 files: https://huggingface.co/some/model/discussions/7\n")
    assert hub.asked[-1][0] == "/api/models/some/model/commit/main?create_pr=1"
    assert {authorization for _, authorization in hub.asked} == {"Bearer hf_of_a_test"}
    there = [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]
    pushed_files = {path.relative_to(tmp_path / "hub").as_posix(): path.read_text() for path in there}
    assert pushed_files == {"README.md": "a card", ".eval_results/toy.yaml": "- value: 1\n"}
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and b"hf_of_a_test" in path.read_bytes()
    ]


@pytest.mark.parametrize("there", [True, False])
def test_a_hub_that_refuses_or_is_not_there_is_told_in_one_sentence(folder, hub, there):
    hub.refuses = True
    if not there:
        hub.server.shutdown()
        hub.server.server_close()
    with pytest.raises(HarnessError, match="some/model was not pushed to") as caught:
        pushed(packed(folder, "some/model"), "title")
    assert "\n" not in str(caught.value)
    assert "hf_of_a_test" not in str(caught.value)


@pytest.mark.parametrize("to", ["model", "a/b/c", "../x", "a/", "/b", "a b/c", "https://x/y"])
def test_a_name_that_is_no_repository_is_refused(folder, to):
    with pytest.raises(UsageError, match="is no repository of the hub"):
        packed(folder, to)


def test_a_link_out_of_the_folder_and_an_empty_folder_are_refused(folder, tmp_path):
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match="leads outside its folder"):
        packed(folder, "a/b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no file to push"):
        packed(tmp_path / "empty", "a/b")
    with pytest.raises(UsageError, match="is no kind of repository"):
        packed(tmp_path / "empty", "a/b", "wiki")


def test_what_would_go_is_listed_by_size():
    assert Parcel("a/b", "model", {"x": b"123"}).lines() == ["           3 x"]
