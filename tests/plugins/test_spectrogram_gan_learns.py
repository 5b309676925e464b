"""That the spectrogram GAN learns: what is real beside what it makes, after seconds of training on procedural music."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from synthkit import dsp
from synthkit._stages.generation.figures import frechet
from synthkit.builtin.config import TonesConfig
from synthkit.builtin.tones import Tones
from synthkit.interfaces import Batch, Request
from synthkit.specs import FeatureSpec
from synthkit.training.engine import Engine, seeded
from synthkit_spectrogram_gan.architectures import ARCHITECTURES
from synthkit_spectrogram_gan.config import SpectrogramGANConfig, SpectrogramGANObjectiveConfig
from synthkit_spectrogram_gan.model import SpectrogramGAN
from synthkit_spectrogram_gan.network import Critic, one_hot
from synthkit_spectrogram_gan.objective import SpectrogramGANObjective

SPEC = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=64, floor=1e-3)
SETTINGS = SpectrogramGANObjectiveConfig(learning_rate=1e-3, critic_learning_rate=3e-4)
FRAMES = 64


def train(model: SpectrogramGAN, draw: Callable[[int], Batch], steps: int) -> list[dict[str, float]]:
    """Teach a fresh model on `draw(step)` and return the terms of each step."""
    engine = Engine()
    with seeded(1):
        objective = SpectrogramGANObjective(SETTINGS, model, engine)
    objective.survey(draw(-step) for step in range(1, 5))
    told = []
    for step in range(steps):
        engine.begin(step)
        with seeded(step):
            told.append({name: float(term) for name, term in objective.step(draw(step)).items()})
    model.generator.eval()
    return told


def fresh(labels: tuple[str, ...]) -> SpectrogramGAN:
    with seeded(1):
        return SpectrogramGAN(SpectrogramGANConfig(width=0.125, conditional=True), SPEC, labels)


@dataclass(frozen=True)
class Music:
    """Features of clips, each as long as several maps."""

    labels: tuple[str, ...]
    clips: list[tuple[int, Tensor]]

    def draw(self, seed: int, items: int = 12) -> Batch:
        random = torch.Generator().manual_seed(2**20 + seed)
        rows = [self.clips[int(torch.randint(len(self.clips), (), generator=random))] for _ in range(items)]
        starts = [int(torch.randint(clip.shape[1] - FRAMES, (), generator=random)) for _, clip in rows]
        crops = [clip[:, start : start + FRAMES] for (_, clip), start in zip(rows, starts, strict=True)]
        labels = torch.tensor([label for label, _ in rows])
        return Batch(audio=torch.zeros(items, 1), features=torch.stack(crops), labels=labels)


@pytest.fixture(scope="module")
def music() -> Music:
    tones = Tones(TonesConfig(clips_per_label=8, seconds=3.0))
    clips = [(tones.labels().index(clip.label), tones.open(clip).mono()) for clip in tones.clips() if clip.label]
    features = [(label, dsp.log_mel(torch.from_numpy(sound.samples), SPEC)[0]) for label, sound in clips]
    return Music(tones.labels(), features)


@pytest.fixture(scope="module")
def learned(music: Music) -> tuple[SpectrogramGAN, list[dict[str, float]]]:
    model = fresh(music.labels)
    return model, train(model, music.draw, 200)


def spectra(features: Tensor) -> Tensor:
    """Sixteen wide bands of each item, mean over time: few enough for a Frechet distance of a few hundred items."""
    return features.view(len(features), 16, -1).mean(dim=2)


def some(model: SpectrogramGAN, each: int, frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    """Clips of every label, and their labels' numbers."""
    wanted = torch.arange(len(model.labels)).repeat_interleave(each)
    names = tuple(model.labels[label] for label in wanted)
    return model.generate(
        Request(frames=frames, count=len(names), labels=names, seeds=tuple(range(len(names))))
    ), wanted


def test_what_it_makes_is_nearer_to_music_than_to_noise(
    music: Music, learned: tuple[SpectrogramGAN, list[dict[str, float]]]
) -> None:
    real, beside = (music.draw(-seed, items=240).features for seed in (8, 9))
    made, _ = some(learned[0], each=40)
    random = torch.Generator().manual_seed(1)
    noise = real.mean() + real.std() * torch.randn(real.shape, generator=random)
    floor, found, ceiling = (
        frechet(spectra(real).double().numpy(), spectra(other).double().numpy()) for other in (beside, made, noise)
    )
    assert floor < found < 0.2 * ceiling


def test_it_makes_what_it_is_asked_for(music: Music, learned: tuple[SpectrogramGAN, list[dict[str, float]]]) -> None:
    """Clips have the spectrum of their own label, nearer to its mean than to that of any other, far more often than one in six."""
    real = music.draw(-10, items=400)
    assert real.labels is not None
    seen = spectra(real.features)
    means = torch.stack([seen[real.labels == label].mean(dim=0) for label in range(len(music.labels))])
    made, wanted = some(learned[0], each=20)
    assert float((torch.cdist(spectra(made), means).argmin(dim=1) == wanted).float().mean()) > 0.35
    assert float((torch.cdist(seen, means).argmin(dim=1) == real.labels).float().mean()) > 0.6  # so it can be told


def test_the_critic_does_not_win(learned: tuple[SpectrogramGAN, list[dict[str, float]]]) -> None:
    """Once it took 0.99 of the real and 0.03 of the made for real, which was read as success."""
    last = learned[1][-50:]
    assert sum(terms["d_real"] - terms["d_made"] for terms in last) / len(last) < 0.85
    assert sum(terms["critic"] for terms in last) / len(last) > 0.3


def test_the_critic_of_the_cgan_soon_hears_the_label(music: Music) -> None:
    """Beside what is laid flat of a map a one-hot label is next to nothing: heard as it is, after 800 steps of `dcgan-tones` 23 % of
    the new clips were what they should be."""
    architecture = replace(ARCHITECTURES["cgan"].scaled(0.125), dropout=0.0)
    with seeded(1):
        critic = Critic(architecture, len(music.labels))
    optimiser = torch.optim.Adam(critic.parameters(), 3e-4, SETTINGS.betas)
    told_apart = []
    for step in range(60):
        batch = music.draw(step, items=24)
        assert batch.labels is not None
        maps, right = batch.features / 2 + 0.5, one_hot(batch.labels, len(music.labels))
        wrong = right.roll(1 + step % (len(music.labels) - 1), dims=1)
        lead = critic(maps, right)[0][0] - critic(maps, wrong)[0][0]
        told_apart.append(float((lead > 0).float().mean()))
        optimiser.zero_grad()
        softplus(-lead).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert sum(told_apart[-15:]) / 15 > 0.9


def test_a_long_clip_has_no_seam(learned: tuple[SpectrogramGAN, list[dict[str, float]]]) -> None:
    """Over the frames where maps meet, features change as much from one to the next as within a map."""
    model = learned[0]
    within = some(model, each=8)[0].diff(dim=-1).abs().mean()

    def at_joins(overlap: int) -> float:
        other = SpectrogramGAN(model.config.model_copy(update={"overlap": overlap}), SPEC, model.labels)
        other.generator, other.scaling = model.generator, model.scaling
        change = some(other, each=4, frames=6 * FRAMES)[0].diff(dim=-1).abs().mean(dim=(0, 1))
        step = FRAMES - overlap
        joins = [change[place - 1 : place + overlap].mean() for place in range(step, 4 * FRAMES, step)]
        return float(torch.stack(joins).mean() / within)

    assert at_joins(FRAMES // 2) < 1.3
    assert at_joins(0) > 1.5


def test_a_rising_tone_rises() -> None:
    """Bands are rows and frames are columns all the way: a tone that climbs a few bands in the time of a map comes out so."""
    bands, frames = torch.arange(64.0)[:, None], torch.arange(float(FRAMES))
    tone = -3 + 3 * torch.exp(-((bands - (6 + frames / 4)) ** 2) / 4)  # from band 6 to band 22

    def draw(step: int) -> Batch:
        louder = 0.3 * torch.rand(8, 1, 1, generator=torch.Generator().manual_seed(step + 100))
        return Batch(audio=torch.zeros(8, 1), features=tone + louder, labels=torch.arange(8) % 2)

    model = fresh(("one", "other"))
    train(model, draw, 80)
    made = some(model, each=8)[0].mean(dim=0)
    seen = torch.corrcoef(torch.stack([made.flatten(), tone.flatten(), tone.T.flatten()]))[0]
    assert float(seen[1]) > float(seen[2]) + 0.3
    loudest = made.argmax(dim=0).float()
    assert float(loudest[-16:].mean()) > float(loudest[:16].mean()) + 5
