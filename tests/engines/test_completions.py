"""An engine behind a server: the same tokens, whatever goes wrong on the way; one sentence where it cannot go on."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.serving import Loopback, garbage, half, hang, reset, says
from harness.engines import Ask, engine, gap
from harness.engines.address import KEY, address, decides
from harness.engines.completions import Completions
from harness.engines.inside import Transformers
from harness.engines.wire import ServerError, _seconds, alike
from harness.errors import HarnessError, UsageError
from harness.nn.generate import generate, log_probs

PROMPTS = [[65, 66, 67], [72, 15], [65, 66, 67], [90] * 9]
SEEDS = [3, 1, 4, 1]
ASK = Ask(max_tokens=6, temperature=1.0, top_p=0.9, log_probs=True)


@pytest.fixture(scope="module")
def tiny():
    """A random Llama over the signs of ASCII, as an engine of this process."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = ["Ġ", *map(chr, range(33, 127))]
    inner = Tokenizer(models.BPE({"<s>": 0, **{sign: i + 1 for i, sign in enumerate(alphabet)}}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        initializer_range=0.5, bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    return Transformers(LlamaForCausalLM(config).eval(), tokenizer)


def opened(server, tiny, model="tiny", **options):
    return Completions(address(server.address), model, tiny.tokenizer, **options)


@pytest.fixture
def soon(monkeypatch):
    """Pauses between tries of some milliseconds."""
    import tenacity

    shorter = tenacity.wait_exponential_jitter
    monkeypatch.setattr(
        tenacity, "wait_exponential_jitter", lambda **_: shorter(initial=0.01, max=0.02, jitter=0.01)
    )


def test_the_engine_of_this_process_is_the_sampler_of_the_toolbox(tiny):
    found = tiny.complete(PROMPTS, ASK)
    options = {"max_new_tokens": 6, "temperature": 1.0, "top_p": 0.9}
    assert [one.tokens for one in found] == generate(tiny.model, PROMPTS, **options)
    assert found[0].tokens != found[2].tokens  # equal prompts draw apart
    ends = (found[0].tokens[2],)
    [cut] = tiny.complete(PROMPTS[:1], Ask(6, 1.0, 0.9, ends))
    assert (cut.tokens, cut.ended) == (found[0].tokens[: found[0].tokens.index(ends[0])], True)


def test_log_probabilities_are_those_of_one_row_alone_and_unpadded(tiny):
    import torch

    answers = [one.tokens for one in tiny.complete(PROMPTS, ASK)]
    together = log_probs(tiny.model, PROMPTS, answers)
    for prompt, answer, told in zip(PROMPTS, answers, together, strict=True):
        row = torch.tensor([[*prompt, *answer]])
        with torch.inference_mode():
            scores = tiny.model(input_ids=row).logits[0].log_softmax(-1)
        alone = [scores[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer)]
        assert told == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("takes", ["tokens", "text"])
def test_a_server_writes_what_the_same_weights_write_here(tiny, takes):
    here = tiny.complete(PROMPTS, ASK, seeds=SEEDS)
    with Loopback(tiny, takes=takes) as server:
        there = opened(server, tiny)
        found = there.complete(PROMPTS, ASK, seeds=SEEDS)
        assert there.told == {
            "engine": "completions", "model": "tiny", "answers as": "tiny", "address": f"{server.address}/v1",
            "prompts": takes,
        }  # fmt: skip
    assert [one.tokens for one in found] == [one.tokens for one in here]
    assert [one.ended for one in found] == [one.ended for one in here]
    apart = gap(tiny.model, PROMPTS, found)
    assert apart.tokens == 24
    assert apart.largest < 1e-5


def test_texts_are_prompts_too(tiny):
    with Loopback(tiny) as server:
        found = opened(server, tiny).complete(["AB", "CD"], ASK, seeds=[1, 2])
    ids = [tiny.tokenizer(text)["input_ids"] for text in ("AB", "CD")]
    for here in (tiny.complete(["AB", "CD"], ASK, seeds=[1, 2]), tiny.complete(ids, ASK, seeds=[1, 2])):
        assert [one.tokens for one in found] == [one.tokens for one in here]


def test_no_more_requests_are_on_their_way_than_were_asked_for(tiny):
    with Loopback(tiny) as server:
        opened(server, tiny).complete([[65 + i] for i in range(12)], ASK, at_once=3)
        assert 1 < server.most <= 3


def choice(token_ids=(65,), **logprobs):
    """Return an answer of these tokens, with log-probabilities that may be wrong."""
    told = {"tokens": ["a"], "token_logprobs": [-1.0]} | logprobs
    return {"choices": [{"text": "a", "token_ids": list(token_ids), "logprobs": told}]}


BAD_ANSWERS = {
    "no choices": {"choices": []},
    "a list": [],
    "a number for a text": {"choices": [{"text": 5}]},
    "no log-probability of a token": choice(token_ids=(65, 66)),
    "a log-probability that is no number": choice(token_logprobs=["x"]),
    "null for a log-probability": choice(token_logprobs=[None]),
    "a log-probability without end": choice(token_logprobs=[-math.inf]),
    "tokens that are texts": choice(token_ids=("a",)),
    "an error with a good status": {"error": {"message": "overloaded"}},
}
TROUBLES = {
    "garbage": garbage,
    "half an answer": half,
    "a reset": reset,
    "a hang": hang(3),
    "429": says(429, Retry_After="0"),
    "429 without a time": says(429),
    "500": says(500, b"<html>oops</html>"),
    "503": says(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "529": says(529),
    "408": says(408),
    **{what: says(200, value) for what, value in BAD_ANSWERS.items()},
    "bytes that are no text": says(200, b"\xff\xfe\x00"),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_what_passes_is_asked_again_and_changes_nothing(tiny, soon, trouble):
    here = tiny.complete(PROMPTS, ASK, seeds=SEEDS)
    with Loopback(tiny) as server:
        there = opened(server, tiny, seconds=2)
        server.troubles = [trouble, trouble]
        found = there.complete(PROMPTS, ASK, seeds=SEEDS, at_once=2)
        assert len(server.asked) == 1 + len(PROMPTS) + 2
    assert [one.tokens for one in found] == [one.tokens for one in here]


def test_retry_after_is_waited_for(tiny, soon):
    with Loopback(tiny) as server:
        there = opened(server, tiny)
        server.troubles = [says(429, Retry_After="0.5")]
        begun = time.monotonic()
        there.complete(PROMPTS[:1], ASK)
        assert time.monotonic() - begun >= 0.5


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.none(), st.text(max_size=40), st.floats().map(str), st.integers().map(str)))
def test_any_retry_after_is_a_bounded_wait_or_none(told):
    wait = _seconds(told)
    assert wait is None or 0 <= wait <= 60


def test_trouble_that_lasts_is_one_sentence(tiny, soon):
    with Loopback(tiny) as server:
        there = opened(server, tiny, tries=3)
        server.troubles = [says(500, {"detail": "no memory left"})] * 99
        with pytest.raises(
            ServerError,
            match=r"completions does not answer as it should \(500: .*no memory left.*tried 3 times\)",
        ):
            there.complete(PROMPTS, ASK)


def test_log_probabilities_that_are_missing_are_one_sentence_and_asked_for_once(tiny):
    with Loopback(tiny, sends_log_probs=False) as server:
        there = opened(server, tiny)
        with pytest.raises(ServerError, match="sends no log-probabilities: start it so that it does"):
            there.complete(PROMPTS[:1], ASK)
        assert len(server.asked) == 2
        assert there.complete(PROMPTS[:1], Ask(4))  # whoever needs none is served


def test_no_server_is_one_sentence_at_once(tiny):
    with Loopback(tiny) as server:
        gone = server.address
    begun = time.monotonic()
    with pytest.raises(
        UsageError, match=rf"no server answers at {gone}/v1 \(.*\): start it, or give the address"
    ):
        Completions(address(gone), "tiny", tiny.tokenizer)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("models", [["other", "another"], []])
def test_a_server_of_another_model_is_one_sentence(tiny, models):
    with Loopback(tiny, models=models) as server:
        with pytest.raises(
            UsageError, match=r"serves (other, another|no model) and not tiny: serve that one"
        ):
            opened(server, tiny)
        with pytest.raises(UsageError, match="and not mine"):
            Completions(address(f"{server.address}#mine"), "tiny", tiny.tokenizer)


def test_the_server_s_own_name_goes_behind_the_address(tiny):
    with Loopback(tiny, served="gpt-9", models=["gpt-8", "gpt-9"]) as server:
        there = Completions(address(f"{server.address}/v1/#gpt-9"), "tiny", tiny.tokenizer)
        assert there.told["model"] == server.asked[0]["model"] == "gpt-9"


def test_a_server_that_answers_as_another_is_one_sentence(tiny):
    with Loopback(tiny, answers_as="other") as server:
        with pytest.raises(UsageError, match="was asked for tiny and answers as other"):
            opened(server, tiny)


def test_a_model_that_is_changed_midway_is_one_sentence(tiny):
    with Loopback(tiny) as server:
        there = opened(server, tiny)
        server.answers_as = "tiny-2"
        with pytest.raises(ServerError, match="answered as tiny and now does as tiny-2"):
            there.complete(PROMPTS, ASK)


def test_no_such_route_is_one_sentence(tiny):
    with Loopback(None) as server:
        with pytest.raises(UsageError, match="has no route completions"):
            opened(server, tiny)


def test_a_server_without_a_list_of_models_is_believed(tiny):
    with Loopback(tiny) as server:
        server.server.RequestHandlerClass.do_GET = lambda self: self.send(404, {})
        assert opened(server, tiny).told["model"] == "tiny"


def test_a_prompt_that_the_server_reads_otherwise_is_one_sentence(tiny):
    with Loopback(tiny, takes="text") as server:
        there = opened(server, tiny)
        plain = server.answer
        server.answer = lambda body: {**plain(body), "usage": {"prompt_tokens": 99}}
        with pytest.raises(ServerError, match="reads 99 tokens where 3 were meant"):
            there.complete(PROMPTS[:1], ASK)


def test_tokens_of_a_larger_vocabulary_are_one_sentence(tiny):
    with Loopback(tiny) as server:
        there = opened(server, tiny)
        server.troubles = [says(200, {"choices": [{"text": "a", "token_ids": [5000]}]})]
        with pytest.raises(ServerError, match="wrote the token 5000, and the tokenizer has 96"):
            there.complete(PROMPTS[:1], Ask(4))


def test_other_weights_are_told_by_their_log_probabilities(tiny):
    from dataclasses import replace

    found = tiny.complete(PROMPTS, ASK)
    off = [replace(one, log_probs=[value - 2 for value in one.log_probs]) for one in found]
    with pytest.raises(HarnessError, match=r"2 nats in the mean .* other weights than the trainer"):
        gap(tiny.model, PROMPTS, off)


@pytest.mark.parametrize("pieces", [["\ufffd", "ab"], ["a"], ["b", "a"]])
def test_tokens_that_are_not_told_have_no_log_probability_and_cost_nothing_else(tiny, pieces):
    parts = {"text": "ab", "logprobs": {"tokens": pieces, "token_logprobs": [-1.0] * len(pieces)}}
    with Loopback(tiny, takes="text") as server:
        there = opened(server, tiny)
        server.troubles = [says(200, {"choices": [parts]})]
        [one] = there.complete([[65]], ASK)
    assert tiny.tokenizer.decode(one.tokens) == "ab"
    assert one.log_probs is None
    with pytest.raises(HarnessError, match="gave no log-probabilities to compare"):
        gap(tiny.model, [[65]], [one])


# Nothing is lost


def test_a_server_that_dies_midway_loses_nothing(tiny, soon, tmp_path):
    prompts, seeds = [[65 + i] for i in range(10)], range(10)
    here = tiny.complete(prompts, ASK, seeds=seeds)
    keep = tmp_path / "kept.jsonl"
    with Loopback(tiny, dies_after=1 + 6) as server:  # the one that it is met with, and six answers
        port = server.port
        there = opened(server, tiny, keep=keep, tries=2)
        with pytest.raises(ServerError, match="what has come is kept"):
            there.complete(prompts, ASK, seeds=seeds, at_once=2)
    assert len(keep.read_text().splitlines()) == 6
    heard = []
    with Loopback(tiny, port=port) as server:
        again = opened(server, tiny, keep=keep)
        found = again.complete(
            prompts, ASK, seeds=seeds, at_once=2, progress=lambda done, total: heard.append(done)
        )
        assert len(server.asked) == 1 + 4
    assert [one.tokens for one in found] == [one.tokens for one in here]
    assert heard == [6, 7, 8, 9, 10]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_file_that_is_torn_anywhere_is_gone_on_from(tmp_path_factory, data):
    from harness.engines.kept import Kept

    path = tmp_path_factory.mktemp("torn") / "kept.jsonl"
    whole = Kept(path)
    for i in range(5):
        whole.add(str(i), {"value": i})
    text = path.read_bytes()
    path.write_bytes(text[: data.draw(st.integers(0, len(text)))])
    left = Kept(path)
    for i in range(5):
        if str(i) not in left.found:
            left.add(str(i), {"value": i})
    assert Kept(path).found == whole.found


# The key


def test_the_key_is_shown_and_never_told(tiny, tmp_path, monkeypatch):
    secret = "sk-of-nobody-5f3a"
    monkeypatch.setenv(KEY, secret)
    keep = tmp_path / "kept.jsonl"
    with Loopback(tiny, key=secret) as server:
        there = opened(server, tiny, keep=keep)
        there.complete(PROMPTS, ASK)
        assert set(server.keys) == {f"Bearer {secret}"}
        monkeypatch.setenv("OPENAI_API_KEY", secret)
        monkeypatch.setenv(KEY, f"{secret}-of-another")
        with pytest.raises(UsageError, match=rf"wants another key \(401: .*\): set {KEY}") as told:
            opened(server, tiny)
        assert secret not in str(told.value)
        monkeypatch.delenv(KEY)
        with pytest.raises(UsageError, match="wants another key"):
            opened(server, tiny)
        assert server.keys[-1] == ""  # a key for somebody else is shown to nobody
    assert secret not in keep.read_text() + repr(there.told)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "\x00"])
def test_what_cannot_be_a_key_is_refused_without_being_told(tiny, monkeypatch, key):
    if "\x00" in key:
        monkeypatch.setattr(os, "environ", {**os.environ, KEY: key})
    else:
        monkeypatch.setenv(KEY, key)
    with pytest.raises(UsageError, match=f"{KEY} holds a blank or a character") as told:
        Completions(address("http://127.0.0.1:9"), "tiny", tiny.tokenizer)
    assert key not in str(told.value)


# Addresses


@pytest.mark.parametrize(
    ("word", "base", "served"),
    [
        ("http://host:8000", "http://host:8000/v1", ""),
        ("http://host:8000/", "http://host:8000/v1", ""),
        ("HTTPS://host/v1/completions#a/b", "https://host/v1", "a/b"),
        ("http://[::1]:8000/openai/v1/", "http://[::1]:8000/openai/v1", ""),
    ],
)
def test_an_address_may_be_written_in_many_ways(word, base, served):
    found = address(word)
    assert (found.base, found.served) == (base, served)


@pytest.mark.parametrize(
    "word",
    ["ftp://host", "http://", "http://host:99999", "http://host:x", "http://a b", "http:///v1", "host:8000"],
)
def test_what_is_no_address_is_refused(word):
    with pytest.raises(UsageError, match="is no address of a server"):
        address(word)


@pytest.mark.parametrize(
    "word",
    [
        "http://me:hidden@host:1",
        "http://hidden@host",
        "http://host/v1?token=hidden",
        "https://host?api_key=hidden",
    ],
)
def test_an_address_with_a_secret_is_refused_and_masked(word):
    with pytest.raises(UsageError, match=f"leave them out, and set {KEY}") as told:
        address(word)
    assert "hidden" not in str(told.value)


def test_where_a_server_listens_decides_nothing_and_its_model_does():
    assert decides("http://a:1#m") == decides("https://b/v1#m") != decides("http://a:1#n")
    for value in ("", "vllm", 3, ["http"], None):
        assert decides(value) == value


def test_names_of_a_model_are_alike_in_their_last_part():
    for name in (
        "org/My-Model",
        "my-model",
        "/models/my-model.gguf",
        "hub:org/my-model@1a2b",
        "models/my-model/",
    ):
        assert alike(name, "My-Model")
    assert not alike("my-model-2", "my-model")


@pytest.mark.parametrize("word", ["vlm", "transformers", "127.0.0.1:8000"])
def test_an_unknown_engine_is_refused(tiny, word):
    with pytest.raises(UsageError, match=f"engine={word} is not known"):
        engine(word, "tiny", Path("."), tiny.tokenizer)


def test_vllm_that_is_not_installed_is_one_sentence(tiny):
    with pytest.raises(UsageError, match="vLLM is not installed here: pip install vllm"):
        engine("vllm", "tiny", Path("."), tiny.tokenizer)


def test_asking_for_nothing_is_refused(tiny):
    for bad in ({"max_tokens": 0}, {"max_tokens": 1, "temperature": -1.0}, {"max_tokens": 1, "top_p": 0.0}):
        with pytest.raises(UsageError):
            Ask(**bad)
    with Loopback(tiny) as server, pytest.raises(UsageError, match="prompt without tokens"):
        opened(server, tiny).complete([[]], ASK)


@pytest.mark.fault
def test_ctrl_c_ends_a_wait_at_once():
    code = (
        "import sys; from harness.engines.wire import Wire; from harness.engines.address import address; "
        "Wire(address(sys.argv[1])).all('completions', {i: {} for i in range(9)}, print, print, at_once=4)"
    )
    with Loopback(troubles=[hang(60)] * 9) as server:
        running = subprocess.Popen(
            [sys.executable, "-c", code, server.address],
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
        )
        while server.now < 4:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        told = running.communicate(timeout=30)[1]
        assert running.returncode == -signal.SIGINT
        assert told.endswith(b"KeyboardInterrupt\n")
