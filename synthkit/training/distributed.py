"""`DistributedEngine`: several processes that learn as one would from the whole batch.

Gradients are summed in flat buckets when an optimiser makes its update. There is no DistributedDataParallel around the networks: it
follows one forward by one backward, and a critic is judged several times per step and frozen for some of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from synthkit.errors import ProcessLost
from synthkit.training.engine import Engine, Network, Numerics

_BUCKET_BYTES = 32 * 2**20
"""Gradients that are sent at once: large enough to fill the line, small enough to be twice in memory."""


class DistributedEngine(Engine):
    """One of several processes, each with its share of every batch; `torch.distributed` has been initialised.

    Every loss is weighted by the share, and gradients are summed over the processes before they are clipped: that is the gradient
    of the mean over the whole batch, also where shares are unequal. Weights are the same everywhere because they begin the same
    (the first process's are sent to all when a network is prepared) and are changed by the same gradients.

    Batch normalisation takes its statistics over the whole batch on CUDA (`SyncBatchNorm`). Elsewhere torch has no such layer: each
    process normalises by its own items, and the running statistics that a checkpoint keeps are the mean over the processes.
    """

    def __init__(self, share: float, device: torch.device | str = "cpu", numerics: Numerics | None = None) -> None:
        """`share` is the part of a batch's items that this process has; those of all processes add up to 1."""
        super().__init__(device, numerics)
        self.share = share
        self._statistics: list[Tensor] = []

    def prepare(self, network: Network) -> Network:
        """As in one process; then the network is made equal to that of the first process."""
        if self.device.type == "cuda":
            # In place, but for a network that is itself such a layer.
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        else:
            self._statistics += _running_statistics(network)
        network = super().prepare(network)
        with torch.no_grad(), lost_is_said():
            for tensor in (*network.parameters(), *network.buffers()):
                dist.broadcast(tensor, src=0)
        return network

    def mean(self, value: Tensor) -> Tensor:
        """The detached mean over all processes, weighted by their shares, of each element."""
        total = value.detach() * self.share
        with lost_is_said():
            dist.all_reduce(total)
        return total

    def _reduce(self, optimiser: torch.optim.Optimizer) -> None:
        parameters = [it for group in optimiser.param_groups for it in group["params"] if it.requires_grad]
        with torch.no_grad():
            buckets = [_Bucket(part) for part in _parts(parameters)]
            for bucket in buckets:
                bucket.finish()
            for statistic in self._statistics:
                # Past autograd, which holds the statistics of a generator whose turn comes after the critic's: its backward
                # pass does not read them in training, and in evaluation they do not change.
                statistic.data.copy_(self.mean(statistic))


class _Bucket:
    """The gradients of some parameters on their way, and after them one number each: how many processes have such a gradient.

    A parameter that had no part in the loss of one process counts as having the gradient 0 there; one that had none in any
    process is left without.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._had = [parameter.grad is not None for parameter in parameters]
        pieces = [torch.zeros_like(it) if it.grad is None else it.grad for it in parameters]
        self._flat = torch.cat([*(piece.reshape(-1) for piece in pieces), pieces[0].new_tensor(self._had)])
        for parameter in parameters:
            parameter.grad = None  # so that no more than a bucket is twice in memory
        with lost_is_said():
            self._sent = dist.all_reduce(self._flat, async_op=True)

    def finish(self) -> None:
        """Wait for the sums, and make them the gradients."""
        with lost_is_said():
            self._sent.wait()
        sizes = [parameter.numel() for parameter in self._parameters]
        *sums, anywhere = torch.split(self._flat, [*sizes, len(sizes)])
        # Only where one is missing here: reading the numbers makes the host wait for the device.
        wanted = self._had if all(self._had) else anywhere.bool().tolist()
        for parameter, total, want in zip(self._parameters, sums, wanted, strict=True):
            if want:
                parameter.grad = total.view_as(parameter)


def _parts(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one type at a time, in their order, of about a bucket's size."""
    for kind in dict.fromkeys(parameter.dtype for parameter in parameters):
        part: list[nn.Parameter] = []
        size = 0
        for parameter in parameters:
            if parameter.dtype != kind:
                continue
            if part and size + parameter.nbytes > _BUCKET_BYTES:
                yield part
                part, size = [], 0
            part.append(parameter)
            size += parameter.nbytes
        yield part


def _running_statistics(network: nn.Module) -> list[Tensor]:
    """What the batch normalisation layers of a network remember."""
    layers = [it for it in network.modules() if isinstance(it, nn.modules.batchnorm._BatchNorm)]
    kept = [statistic for it in layers for statistic in (it.running_mean, it.running_var)]
    return [statistic for statistic in kept if statistic is not None]


@contextmanager
def lost_is_said() -> Iterator[None]:
    """Turn what torch raises when the other processes cannot be reached into a `ProcessLost`."""
    try:
        yield
    except RuntimeError as error:  # gloo raises it as it is, stores and other backends a subclass
        reason = re.sub(r"^\[[^]]*\] *", "", str(error).strip().split("\n")[0]).split(". ")[0]
        raise ProcessLost(f"another process of this run has ended or cannot be reached ({reason})") from error
