"""Transfer by optimisation: what comes of it lies between the two clips, it stops by itself, and the seed decides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from synthkit._stages.transfer.optimisation import Transferred, TransferSettings, style_of, transfer
from synthkit.errors import ConfigError
from synthkit.specs import FeatureSpec
from synthkit.testing.sounds import features, sounds
from synthkit.training.engine import seeded
from synthkit_melgan.network import Critic as SoundCritic
from synthkit_melgan_vc.network import Critic
from synthkit_melgan_vc.unet import PatchCritic

SPEC = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=32)


def critic() -> Critic:
    with seeded(4):
        return Critic(SPEC.n_mels, 24, 16)


def clips() -> tuple[Tensor, Tensor]:
    """Two rhythms of noise: the first in the low bands, the second, shorter one in the high bands."""
    random = torch.Generator().manual_seed(3)
    beats = torch.randn(2, 1, 18, generator=random).repeat_interleave(4, dim=-1)
    low, high = (0.2 * torch.randn(2, SPEC.n_mels, 72, generator=random) + beats).split(1)
    tilt = torch.linspace(0.1, 1, SPEC.n_mels)[:, None]
    return low * tilt.flip(0), (high * tilt)[..., :50]


def rhythm(x: Tensor) -> Tensor:
    return x.mean(dim=(0, 1))


def made_of(settings: TransferSettings, seed: int = 0) -> Transferred:
    content, style = clips()
    hear = critic().see
    random = torch.Generator().manual_seed(seed)
    return transfer(content, style_of(hear(style), settings.statistics), hear, settings, random=random)


def apart(one: list[Tensor], other: list[Tensor]) -> float:
    gaps = [(a - b).square().mean() / b.square().mean() for a, b in zip(one, other, strict=True)]
    return torch.stack(gaps).mean().item()


@pytest.mark.parametrize("statistics", ["gram", "moments"])
def test_the_style_comes_near_and_the_content_stays(statistics: str) -> None:
    settings = TransferSettings(statistics=statistics)  # type: ignore[arg-type]
    content, style = clips()
    hear = critic().see
    done = made_of(settings)
    assert done.made.shape == content.shape
    assert not done.made.requires_grad

    def style_apart(x: Tensor) -> float:
        return apart(style_of(hear(x), settings.statistics), style_of(hear(style), settings.statistics))

    assert style_apart(done.made) < 0.3 * style_apart(content)
    both = torch.stack([rhythm(done.made), rhythm(content)])
    assert float(torch.corrcoef(both)[0, 1]) > 0.8  # what happens when
    middle = torch.arange(SPEC.n_mels) >= SPEC.n_mels // 2
    tilted = [float(x[0, middle].square().mean() / x.square().mean()) for x in (content, done.made, style)]
    assert tilted[0] < tilted[1]  # and how it sounds


def test_the_weights_decide_between_the_two() -> None:
    content, _ = clips()
    kept = made_of(TransferSettings(style_weight=0, start="noise", steps=40))
    assert apart(critic().see(kept.made), critic().see(content)) < 0.1
    untouched = made_of(TransferSettings(style_weight=0))
    assert untouched.settled
    assert torch.equal(untouched.made, content)


def test_it_stops_on_a_plateau_and_never_gets_worse() -> None:
    told: list[tuple[int, int]] = []
    content, style = clips()
    hear, settings = critic().see, TransferSettings(steps=1000)
    done = transfer(content, style_of(hear(style), "gram"), hear, settings, progress=lambda *pair: told.append(pair))
    assert done.settled
    assert len(done.losses) - 1 == len(told) < 1000
    assert told[-1][0] == told[-1][1]
    assert all(later <= earlier * 1.0001 for earlier, later in zip(done.losses, done.losses[1:], strict=False))
    short = transfer(content, style_of(hear(style), "gram"), hear, TransferSettings(steps=3))
    assert (short.settled, len(short.losses)) == (False, 4)


def test_the_seed_decides_where_it_begins_with_noise() -> None:
    settings = TransferSettings(start="noise", steps=5)
    assert torch.equal(made_of(settings, 1).made, made_of(settings, 1).made)
    assert not torch.equal(made_of(settings, 1).made, made_of(settings, 2).made)
    settings = TransferSettings(start="content", steps=5)
    assert torch.equal(made_of(settings, 1).made, made_of(settings, 2).made)


def test_the_critic_is_left_as_it_was() -> None:
    judge = critic()
    content, style = clips()
    transfer(content, style_of(judge.see(style), "gram"), judge.see, TransferSettings(steps=2))
    assert all(parameter.grad is None for parameter in judge.parameters())


def test_samples_are_transferred_with_a_critic_that_hears_samples() -> None:
    """The notebook of starting project 001: MelGAN's critic, and the sound itself that is changed."""
    with seeded(5):
        judge = SoundCritic(scales=1, channels=8, layers=2)

    def hear(samples: Tensor) -> list[Tensor]:
        return judge(samples)[0][:-1]

    content, style = sounds(16000, 4000, 2)[:, None].split(1)
    settings = TransferSettings(steps=15)
    done = transfer(content, style_of(hear(style), "gram"), hear, settings)
    assert done.made.shape == content.shape
    assert done.losses[-1] < 0.5 * done.losses[0]


def test_pictures_are_transferred_too() -> None:
    with seeded(6):
        judge = PatchCritic(4, "none")
    content, style = features(SPEC, 64, 1), features(SPEC, 96, 1, first=5)
    done = transfer(
        content, style_of(judge.see(style), "moments"), judge.see, TransferSettings(statistics="moments", steps=10)
    )
    assert done.losses[-1] < done.losses[0]


def test_what_does_not_fit_is_refused() -> None:
    content, style = clips()
    hear = critic().see
    with pytest.raises(ConfigError, match="one by one, not 2 at once"):
        transfer(content.expand(2, -1, -1), style_of(hear(style), "gram"), hear, TransferSettings())
    with pytest.raises(ConfigError, match="of 2 layers, but the critic has 3"):
        transfer(content, style_of(hear(style), "gram")[:2], hear, TransferSettings())
