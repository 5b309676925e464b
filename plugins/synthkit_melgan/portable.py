"""The whole vocoder as one network for other programs: hearing, ends, generator, silence and the place of the samples."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from synthkit.training.engine import seeded
from synthkit_melgan.network import Generator


class Portable(nn.Module):
    """Features `[B, M, N]` to samples `[B, T]`, as `MelGAN.vocode` makes them, but in one piece; weight norm is folded in.

    Every length in it is a sum of N and a constant, so that it can be traced once for all N.
    """

    def __init__(
        self,
        generator: Generator,
        hear: Callable[[Tensor], Tensor],
        gate: Callable[[Tensor], Tensor] | None,
        *,
        hop_length: int,
        lead: int,
        overhang: int,
    ) -> None:
        """A copy of `generator`, between what the vocoder does before and after it.

        Args:
            generator: The network.
            hear: Features to what the network hears.
            gate: What it hears of n + 2 frames to the gain `[B, n * hop_length]` of the inner n; None: no gate.
            hop_length: Samples of a frame.
            lead: Where frame 0's samples begin in the sound.
            overhang: Samples of the sound beyond `N * hop_length`; negative where it is shorter.
        """
        super().__init__()
        self.generator = _folded(generator)
        self._hear, self._gate, self._hop = hear, gate, hop_length
        self._context = generator.context
        # The blocks of hop_length samples that hold the sound: some before the first frame's, some after the last's.
        self._before, self._after = -(-lead // hop_length), -(-(overhang - lead) // hop_length)
        self._start = self._before * hop_length - lead
        self._cut = (self._before + self._after) * hop_length - self._start - overhang

    def forward(self, features: Tensor) -> Tensor:
        """`[B, M, N]` to `[B, N * hop_length + overhang]`."""
        context, hop = self._context, self._hop
        ends = (context + self._before, context + self._after)
        heard = self._hear(functional.pad(features, ends, mode="replicate"))
        made: Tensor = self.generator(heard)[:, 0, context * hop : -context * hop]
        if self._gate is not None:
            made = made * self._gate(heard[:, :, context - 1 : heard.shape[2] - context + 1])
        return made[:, self._start : made.shape[1] - self._cut]


def _folded(generator: Generator) -> Generator:
    """The same network without weight norm, for inference.

    It is built anew: a deep copy shares the class that weight norm gave the layers, and taking weight norm off it would break both.
    """
    first, last = generator.model[1], generator.model[-2]
    assert isinstance(first, nn.Conv1d)
    assert isinstance(last, nn.Conv1d)
    with seeded(0):
        plain = Generator(first.in_channels, last.in_channels, generator.ratios, len(generator.dilations))
    for name, normed in generator.named_modules():
        if isinstance(normed, nn.Conv1d | nn.ConvTranspose1d):
            layer = plain.get_submodule(name)
            parametrize.remove_parametrizations(layer, "weight")
            layer.load_state_dict({"weight": normed.weight, "bias": normed.bias})
    return plain.eval().requires_grad_(False)
