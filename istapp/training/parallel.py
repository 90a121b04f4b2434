"""Several processes on one run, started by ``torchrun``: each takes its share of every batch."""

import os

import torch
from torch import distributed, nn


class Peers:
    """The processes of this run; one alone where torchrun did not start more.

    All peers draw the same random batch, each computes on its slice, and the gradients are averaged, so n peers compute
    what one would with the same batch: but for what a loss draws itself and for the statistics of a batch, which are
    each peer's own.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.count > 1 and device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if self.count > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if device == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Return how many patches of a batch are this process's.

        Raises:
            ValueError: the batch cannot be dealt out evenly.
        """
        if batch % self.count:
            raise ValueError(f"a batch of {batch} cannot be dealt out evenly to {self.count} processes")
        return batch // self.count

    def slice(self, batch: int) -> slice:
        """Return this process's part of a batch."""
        share = self.share(batch)
        return slice(self.rank * share, (self.rank + 1) * share)

    def average(self, network: nn.Module) -> None:
        """Replace each gradient by its mean over all peers."""
        if self.count == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, mean in zip(gradients, (flat / self.count).split([g.numel() for g in gradients])):
            gradient.copy_(mean.view_as(gradient))

    def any(self, asked: bool) -> bool:
        """Return whether any peer asks, so that all stop at the same step."""
        if self.count == 1:
            return asked
        flag = torch.tensor(int(asked), device="cuda" if distributed.get_backend() == "nccl" else "cpu")
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)
