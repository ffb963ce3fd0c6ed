"""The policy that is trained and the base it is held to, which stays the original in both stages.

With LoRA the base is the policy with its adapter off, without it a frozen copy. A trained policy is left as a
folder of transformers (or of peft, for an adapter), with the tokenizer beside it.
"""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from harness import Run
from harness.data.jsonl import read_jsonl
from harness.errors import HarnessError
from harness.nn.bases import load_model
from harness.tools import write_json
from harness_score import addition

CHOSEN = "chosen.json"
BASE_FIELDS = ("digits", "draw", "validation_problems", "base_", "chat_")


def base_folder(run: Run) -> Path:
    """Return the folder of this run's base; the small one is made once for a seed, and its methods share it."""
    task = run.task
    settings = {name: value for name, value in vars(task).items() if name.startswith(BASE_FIELDS)}

    def make(folder: Path) -> None:
        def progress(done: int, total: int, **more: Any) -> None:
            run.progress(0, task.steps, note=f"the seed's base, step {done}", **more)

        addition.train_base(task, folder, run.seed, run.device, run.precision, progress)

    return run.base(make, {"settings": settings, "seed": run.seed, "precision": run.precision})


class Policy:
    """A model to train, and the logits of its base."""

    def __init__(self, model: Any, base: Any | None) -> None:
        self.model, self.base = model, base

    @classmethod
    def of(cls, run: Any) -> Policy:
        """Return this run's untrained policy on its device: every weight, or an adapter of `task.lora_rank`."""
        model = load_model(base_folder(run))
        if not run.task.lora_rank:
            base = load_model(base_folder(run)).requires_grad_(False)
            return cls(model.to(run.device), base.to(run.device))
        from peft import LoraConfig, get_peft_model

        rank = run.task.lora_rank
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        return cls(get_peft_model(model, config).to(run.device), None)

    @classmethod
    def trained(cls, run: Any) -> Policy:
        """Return the policy that `train` chose, with its base."""
        policy = cls.of(run)
        found = json.loads((run.output_dir / CHOSEN).read_text(encoding="utf-8"))
        if not found["folder"]:
            return policy
        folder = run.output_dir / found["folder"]
        if not run.task.lora_rank:
            policy.model = load_model(folder).to(run.device)
            return policy
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        weights = load_file(folder / "adapter_model.safetensors", device=run.device)
        set_peft_model_state_dict(policy.model, weights)
        policy.model.eval()
        return policy

    def reference(self) -> tuple[Any, Any]:
        """Return the base as a model, and the context in which it is the base."""
        if self.base is not None:
            return self.base, nullcontext()
        return self.model, self.model.disable_adapter()


class Keeper:
    """Keep the best weights seen, by validation accuracy; what was kept outlives a kill or a guard."""

    def __init__(self, run: Any) -> None:
        self.folder, self.data_dir = run.output_dir, run.data_dir
        path = self.folder / CHOSEN
        self.best = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"value": -1.0}

    def offer(self, model: Any, step: int, value: float, **more: float) -> None:
        """Write the weights of `step` if `value` is the best so far."""
        if value <= self.best["value"]:
            return
        name = f"policy-{step}"
        partial = self.folder / f".{name}"
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(partial)
        shutil.copytree(self.data_dir / "tokenizer", partial, dirs_exist_ok=True)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        partial.rename(self.folder / name)
        self.best = {"folder": name, "step": step, "value": value, **more}
        write_json(self.folder / CHOSEN, self.best)
        for old in self.folder.glob("policy-*"):
            if old.name != name:
                shutil.rmtree(old)


def problems_of(run: Any, split: str) -> list[dict[str, Any]]:
    """Return a split's problems: `problem`, `answer`, `ids`. Raises HarnessError for none."""
    rows = read_jsonl(run.data_dir / f"{split}.jsonl")
    if not rows:
        raise HarnessError(f"there are no problems for {split}: raise task.{split}_problems")
    return rows
