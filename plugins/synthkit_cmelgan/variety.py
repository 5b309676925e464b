"""How different the clips of a label are from each other, and how far what is made as a whole is from the real."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST = 1e-3
_DIRECTIONS = 64


def variety_of(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """`[classes]`: the mean distance between the mean spectra of two windows of the same label, for features `[B, M, N]`, labels `[B]`.

    The mean over time leaves out what only happens at another moment. A label with fewer than two windows counts as the others do.

    >>> features = torch.tensor([0.0, 3.0, 5.0, 5.0])[:, None, None].expand(4, 4, 9)
    >>> variety_of(features, torch.tensor([0, 0, 1, 1]), classes=2).tolist()
    [6.0, 0.0010000000474974513]
    """
    spectra = features.float().mean(dim=2)
    each = [torch.pdist(spectra[labels == label]) for label in range(classes)]
    known = [distances.mean() for distances in each if len(distances)]
    usual = torch.stack(known).mean() if known else torch.ones((), device=features.device)
    means = torch.stack([distances.mean() if len(distances) else usual for distances in each])
    return means.clamp(min=_LEAST)


def frame_distance(made: Tensor, real: Tensor) -> Tensor:
    """The sliced Wasserstein distance between the frames of two batches `[B, M, N]` of equal shape (Rabin et al. 2012).

    The frames are projected on 64 directions that never change, and sorted: what is left is how far they have to be moved, mean over
    the frames and directions, in the units of the features. Frames in another order are at no distance:

    >>> real = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    >>> frame_distance(real.flip(2), real).item(), frame_distance(real + 1, real) > 0.5
    (0.0, tensor(True))
    """
    bands = made.shape[1]
    directions = torch.randn(_DIRECTIONS, bands, generator=torch.Generator().manual_seed(0)).to(made.device)
    directions = directions / directions.square().mean(dim=1, keepdim=True).sqrt() / bands**0.5
    one, other = (
        (directions @ frames.float().transpose(0, 1).flatten(1)).sort(dim=1).values for frames in (made, real)
    )
    distance: Tensor = (one - other).abs().mean()
    return distance


def mean_distance(made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """How far the mean of what each layer of a critic saw of the made, `[B, C, M, N]`, is from that of the real.

    The feature matching of Salimans et al. (2016, arXiv 1606.03498, section 3.1), for all layers and with absolute differences: means
    over items and frames, so that only bands, and no moments, are compared; the mean over channels, bands and layers is returned.

    >>> layer = torch.randn(3, 2, 4, 8, generator=torch.Generator().manual_seed(1))
    >>> round(mean_distance([layer.flip(3)], [layer]).item(), 6), round(mean_distance([layer + 2], [layer]).item(), 6)
    (0.0, 2.0)
    """
    apart = [
        (one.float().mean(dim=(0, 3)) - other.detach().float().mean(dim=(0, 3))).abs().mean()
        for one, other in zip(made, real, strict=True)
    ]
    return torch.stack(apart).mean()
