"""Two processes, each with its share of a batch, get the loss and gradients of one process with all of it."""

import socket

import pytest
import torch
import torch.multiprocessing as mp
from harness_simcse.contrast import supervised_loss, unsupervised_loss
from harness_simcse.gathering import gathered
from torch import nn

SHARES = (5, 3)  # unequal


def inputs() -> torch.Tensor:
    return torch.randn(3, sum(SHARES), 6, generator=torch.Generator().manual_seed(0))


def layer() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(6, 4)


def share_of_loss(model: nn.Module, x: torch.Tensor, supervised: bool) -> torch.Tensor:
    z = model(x)
    (z2, first), (z3, _) = gathered(z[1]), gathered(z[2])
    if supervised:
        return supervised_loss(z[0], z2, z3, 0.1, 0.5, first)
    return unsupervised_loss(z[0], z2, 0.1, first)


def process(rank: int, port: int, supervised: bool, results) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=len(SHARES)
    )
    rows = slice(sum(SHARES[:rank]), sum(SHARES[: rank + 1]))
    model = nn.parallel.DistributedDataParallel(layer())
    loss = share_of_loss(model, inputs()[:, rows], supervised)
    # What `harness.fit` does: weigh by rows, and undo the averaging over processes.
    weight = SHARES[rank] / sum(SHARES)
    (loss * weight * len(SHARES)).backward()
    part = loss.detach() * weight
    torch.distributed.all_reduce(part)
    if rank == 0:
        results.put([part.item(), model.module.weight.grad.tolist(), model.module.bias.grad.tolist()])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("supervised", [False, True])
def test_two_processes_give_the_loss_and_gradients_of_one(supervised):
    model = layer()
    loss = share_of_loss(model, inputs(), supervised)
    loss.backward()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(process, args=(port, supervised, results), nprocs=len(SHARES))
    got_loss, weight, bias = results.get()
    assert got_loss == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(torch.tensor(weight), model.weight.grad, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(torch.tensor(bias), model.bias.grad, atol=1e-6, rtol=1e-5)


def test_one_process_gathers_itself():
    z = torch.ones(3, 2)
    everyone, first = gathered(z)
    assert everyone is z
    assert first == 0
