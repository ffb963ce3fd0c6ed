"""A model that is shared out among processes learns what one process learns, and is the caller's own again afterwards.

The processes are real, over gloo.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.batches import Batches
from harness.errors import UsageError
from harness.fit import checkpoint_step, fit, seed_everything, whole
from harness.nn.config import DecoderConfig
from harness.nn.decoder import Decoder
from harness.nn.losses import next_token_loss
from harness.runs.processes import places

ROOT = Path(__file__).parents[2]
TOKENS = np.random.default_rng(0).integers(0, 30, 600)
STEPS = {"steps": 8, "learning_rate": 0.01, "device": "cpu", "log_every": 2, "checkpoint_seconds": 0}


def decoder() -> Decoder:
    seed_everything(0)
    sizes = {"width": 16, "layers": 2, "heads": 2, "feedforward": 24, "length": 12}
    return Decoder(DecoderConfig(vocab_size=30, position="learned", **sizes))


def about(module: nn.Module) -> tuple:
    """Return what sharding changes of a module, and must leave as it was."""
    mine = {name for name in vars(module) if "composable" in name}
    return type(module), mine, len(module._forward_pre_hooks), len(module._state_dict_pre_hooks)


def train(out: Path, stop: int = 0, looks: bool = False, **options) -> tuple[Decoder, dict[int, float]]:
    """Train the decoder with its checkpoint in `out`, until `stop`; return it and its losses by step."""
    made, losses = decoder(), {}
    before = {name: about(module) for name, module in made.named_modules()}
    rank = int(os.environ.get("RANK", 0))

    def step(model, batch):
        if looks:  # processes that do not do the same
            with whole(model), torch.no_grad():
                for _ in range(2 * rank):
                    model(input_ids=batch["input_ids"])
                if rank == 0:
                    model.save_pretrained(out / "looked")
        return next_token_loss(model, batch)

    def log(at, loss, **_):
        losses[at] = loss
        if at == stop:
            raise KeyboardInterrupt

    try:
        fit(
            made, Batches(TOKENS, length=12, batch_size=6, seed=0), step, checkpoint=out / "c", log=log,
            **{**STEPS, **options},
        )  # fmt: skip
    except KeyboardInterrupt:
        os._exit(0)  # the others are in the middle of a step
    assert {name: about(module) for name, module in made.named_modules()} == before
    assert made.lm_head.weight is made.embedding.weight
    return made, losses


def together(out: Path, processes: int, **options) -> tuple[dict[str, torch.Tensor], dict[int, float]]:
    """Train in several processes, and return the weights and losses of the first."""
    program = (
        "import os, sys, torch; from pathlib import Path; from tests.fit.test_sharding import train\n"
        f"made, losses = train(Path(sys.argv[1]), **{options!r})\n"
        "if os.environ['RANK'] == '0': torch.save((made.state_dict(), losses), Path(sys.argv[1]) / 'done.pt')\n"
    )
    out.mkdir(parents=True, exist_ok=True)
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", program, str(out)]
    ranks = [subprocess.Popen(words, env={**around, **place}) for place in places(processes)]
    codes = [rank.wait(240) for rank in ranks]
    if options.get("stop"):
        return {}, {}
    assert codes == [0] * processes
    return torch.load(out / "done.pt")


def same(found, made: Decoder, losses: dict[int, float]) -> None:
    state, seen = found
    assert seen == pytest.approx({at: losses[at] for at in seen}, abs=1e-5)
    for name, tensor in made.state_dict().items():
        assert torch.allclose(state[name], tensor, atol=1e-5), name


def test_activations_that_are_computed_again_change_no_bit_and_nothing_stays_switched_on(tmp_path):
    plain, losses = train(tmp_path / "plain")
    again, seen = train(tmp_path / "again", checkpoint_activations=True)
    assert seen == losses
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), again.parameters(), strict=True))
    assert not any(getattr(m, "gradient_checkpointing", False) for m in again.modules())


def test_activations_that_are_computed_again_take_less_memory():
    def saved(**options) -> int:
        kept = []

        def counted(tensor):
            kept.append(tensor.numel())
            return tensor

        def step(model, batch):
            with torch.autograd.graph.saved_tensors_hooks(counted, lambda tensor: tensor):
                return next_token_loss(model, batch)

        batches = Batches(TOKENS, length=12, batch_size=6, seed=0)
        fit(decoder(), batches, step, **{**STEPS, "steps": 1}, **options)
        return sum(kept)

    assert saved(checkpoint_activations=True) < 0.5 * saved()


def test_a_model_that_cannot_compute_its_activations_again_is_refused():
    with pytest.raises(UsageError, match=r"no part of Linear can .* leave fit.checkpoint_activations out"):
        fit(nn.Linear(2, 2), iter(()), lambda m, b: None, checkpoint_activations=True, **STEPS)


def test_a_plain_model_is_held_whole_as_it_is():
    made = decoder()
    before = copy.deepcopy(made.state_dict())
    with whole(made):
        assert all(torch.equal(a, before[name]) for name, a in made.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "more"),
    [(2, {"looks": True}), (4, {"offload": True, "checkpoint_activations": True, "micro_batch": 1})],
)
def test_shards_learn_what_one_process_learns(tmp_path, processes, more):
    found = together(tmp_path / "many", processes, shard=True, **more)
    same(found, *train(tmp_path / "one"))
    if "looks" in more:
        assert Decoder.from_pretrained(tmp_path / "many/looked").lm_head.weight.shape == (30, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then"), [((2, True), (4, True)), ((4, True), (1, False)), ((1, False), (2, True))]
)
def test_a_checkpoint_is_taken_up_by_another_number_of_processes(tmp_path, first, then):
    together(tmp_path / "c", first[0], shard=first[1], stop=6)
    assert checkpoint_step(tmp_path / "c" / "c") == 4
    found = together(tmp_path / "c", then[0], shard=then[1])
    assert sorted(found[1]) == [6, 8]
    same(found, *train(tmp_path / "one"))


@pytest.mark.slow
def test_torn_shards_are_no_checkpoint_and_nothing_in_them_is_unpickled(tmp_path):
    together(tmp_path, 2, shard=True)
    folder = tmp_path / "c" / "step-000000008"
    assert sorted(p.suffix for p in folder.iterdir()) == [".pt", ".pt", ".pt", ".safetensors", ".safetensors"]
    torn = next(folder.glob("*.safetensors"))
    torn.write_bytes(torn.read_bytes()[:-100])
    assert checkpoint_step(tmp_path / "c") == 0
