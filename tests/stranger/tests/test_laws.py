"""What must hold of mixing whatever is trained on it, and that the plugin keeps the contract."""

import torch
from harness_mixup import mix
from harness_mixup.training import Mixed


def batches(alpha: float) -> Mixed:
    random = torch.Generator().manual_seed(0)
    return Mixed(torch.rand(30, 4, generator=random), torch.eye(3).repeat(10, 1), alpha, size=8, seed=1)


def test_a_quarter_of_one_and_three_quarters_of_the_other():
    values = torch.tensor([[0.0, 8.0], [4.0, 0.0]])
    assert mix(values, torch.tensor([1, 0]), 0.25).tolist() == [[3.0, 2.0], [1.0, 6.0]]


def test_a_weight_of_one_is_plain_training():
    values = torch.rand(5, 3)
    assert torch.equal(mix(values, torch.randperm(5), 1.0), values)


def test_soft_targets_still_sum_to_one():
    assert torch.allclose(next(batches(8.0))["targets"].sum(dim=1), torch.ones(8))


def test_images_and_labels_are_mixed_by_the_same_weight():
    one_hot = torch.eye(3).repeat(10, 1)
    batch = next(Mixed(one_hot, one_hot, 8.0, size=8, seed=1))
    assert torch.equal(batch["images"], batch["targets"])
    assert batch["targets"].max(dim=1).values.min() < 1


def test_plain_training_draws_the_rows_that_mixup_mixes():
    plain, mixed = next(batches(0.0))["images"], next(batches(1e9))["images"]  # there every weight is a half
    assert torch.allclose(mixed.mean(dim=0), plain.mean(dim=0), atol=1e-3)


def test_it_keeps_the_contract(contract):
    contract("mixup")
