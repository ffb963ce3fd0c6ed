"""What was trained is kept, and nothing else."""

import torch
from safetensors.torch import load_file

from harness.nn.weights import load_trained, save_trained


def test_only_what_is_trained_is_written_and_a_copy_of_the_base_takes_it_back(tmp_path):
    model, base = (torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)) for _ in range(2))
    model[0].requires_grad_(False)
    save_trained(model, tmp_path / "trained.safetensors")
    assert set(load_file(tmp_path / "trained.safetensors")) == {"1.weight", "1.bias"}
    before = base[0].weight.clone()
    load_trained(base, tmp_path / "trained.safetensors")
    assert torch.equal(base[1].weight, model[1].weight)
    assert torch.equal(base[0].weight, before)
