"""Train a small network on mixed batches and judge it on labels that are right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from harness import Items, Run
from harness.fit import seed_everything
from harness_mixup.images import read
from harness_mixup.mixing import mix
from harness_mixup.settings import Mixup, Task


class Mixed:
    """Endless batches of images and soft targets; batch n is a function of the seed and n alone."""

    def __init__(self, images: Tensor, targets: Tensor, alpha: float, size: int, seed: int) -> None:
        self.images, self.targets, self.alpha, self.size, self.seed = images, targets, alpha, size, seed
        self.drawn = 0

    def __iter__(self) -> Mixed:
        return self

    def __next__(self) -> dict[str, Tensor]:
        random = np.random.default_rng([self.seed, self.drawn])
        self.drawn += 1
        rows = torch.from_numpy(random.integers(len(self.images), size=self.size))
        partners = torch.from_numpy(random.permutation(self.size))  # drawn even if unused: same rows for all
        images, targets = self.images[rows], self.targets[rows]
        if self.alpha:
            weight = float(random.beta(self.alpha, self.alpha))
            images, targets = mix(images, partners, weight), mix(targets, partners, weight)
        return {"images": images, "targets": targets}

    def state_dict(self) -> dict[str, Any]:
        """Return where the batches are."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where other batches of the same seed were."""
        self.drawn = state["drawn"]


def network(method: Mixup, task: Task, pixels: int, classes: int) -> nn.Sequential:
    """Return an untrained network: (batch, pixels) to (batch, classes) logits."""

    def layer(width: int) -> list[nn.Module]:
        return [nn.Linear(width, task.hidden), nn.ReLU(), nn.Dropout(method.dropout)]

    return nn.Sequential(*layer(pixels), *layer(task.hidden), nn.Linear(task.hidden, classes))


def step(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the mean cross-entropy with soft targets."""
    return cross_entropy(model(batch["images"]), batch["targets"])


def train(run: Run) -> None:
    """Train on the images as they are labelled, wrong labels among them."""
    seed_everything(run.seed)
    found = read(run.data_dir, "train")
    targets = one_hot(found["labels"]).float()  # (n, classes)
    model = network(run.method, run.task, found["images"].shape[1], targets.shape[1])
    batches = Mixed(found["images"], targets, run.method.alpha, run.task.batch_size, run.seed)
    run.fit(model, batches, step, steps=run.task.steps, learning_rate=run.task.learning_rate)
    save_file(model.state_dict(), run.output_dir / "model.safetensors")


def evaluate(run: Run, split: str) -> Mapping[str, float | Items]:
    """Return the accuracy on `split`, and which wrong training labels the network has come to predict."""
    weights = load_file(run.output_dir / "model.safetensors")
    sizes = [weight for name, weight in weights.items() if name.endswith("weight")]
    model = network(run.method, run.task, sizes[0].shape[1], sizes[-1].shape[0])
    model.load_state_dict(weights)
    model.to(run.device).eval()

    def predicted(images: Tensor) -> Tensor:
        with torch.no_grad():
            return model(images.to(run.device)).argmax(dim=1).cpu()

    held, seen = read(run.data_dir, split), read(run.data_dir, "train")
    right = (predicted(held["images"]) == held["labels"]).float()
    believed = (predicted(seen["images"]) == seen["labels"])[seen["wrong"]].float()
    return {
        "accuracy": Items({"right": right.tolist()}, [f"{split}-{i}" for i in range(len(right))]),
        "believed": Items({"same": believed.tolist()}, [f"wrong-{i}" for i in range(len(believed))]),
    }


def training_step(run: Run, device: str) -> None:
    """Do one whole step on random pixels (for the contract kit)."""
    with torch.device(device):
        model = network(run.method, run.task, 64, 10)
        images = torch.rand(run.task.batch_size, 64)
        targets = one_hot(torch.randint(10, (run.task.batch_size,)), 10).float()
        partners = torch.randperm(run.task.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=run.task.learning_rate)
    step(model, {"images": mix(images, partners, 0.3), "targets": mix(targets, partners, 0.3)}).backward()
    optimizer.step()
