"""The blocks that objectives are made of: games, the adversary, the losses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from synthkit import dsp
from synthkit.interfaces import Batch
from synthkit.specs import FeatureSpec
from synthkit.training.adversary import GAMES, Adversary, Judgement, Round, play
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit.training.losses import QUIETEST, RESOLUTIONS, Resolution, feature_matching, mel_l1, multi_resolution_stft

SPEC = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=128, n_mels=20)


def noise(count: int = 2, samples: int = 4000, seed: int = 1) -> Tensor:
    return torch.rand(count, samples, generator=torch.Generator().manual_seed(seed)) - 0.5


class TwoScales(nn.Module):
    """A critic of two scales with one layer before the score."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(1, 3, 5) for _ in range(2))
        self.heads = nn.ModuleList(nn.Conv1d(3, 1, 3) for _ in range(2))

    def forward(self, samples: Tensor) -> list[list[Tensor]]:
        judged = []
        for scale, (layer, head) in enumerate(zip(self.layers, self.heads, strict=True)):
            seen = torch.tanh(layer(samples[..., :: 2**scale]))
            judged.append([seen, head(seen)])
        return judged


def adversary(game: str = "hinge", learning_rate: float = 1e-2) -> Adversary:
    with seeded(1):
        critic = TwoScales()
    optimiser = torch.optim.SGD(critic.parameters(), learning_rate)
    return Adversary(critic, optimiser, game, Engine())  # type: ignore[arg-type]


def rounds(real: Tensor, made: Tensor, pieces: int = 1) -> list[Round]:
    """A game in which `made` `[B, 1, T]` is what the generator makes."""
    batch = Batch(audio=real[:, 0], features=made)
    parts = Engine("cpu", Numerics(accumulate=pieces)).pieces(batch)
    return play(parts, real=lambda part: part.audio[:, None], make=lambda part: part.features)


def test_hinge_ignores_what_is_beyond_the_margin() -> None:
    hinge = GAMES["hinge"]
    real, made = torch.tensor([1.0, 5.0], requires_grad=True), torch.tensor([-1.0, -7.0], requires_grad=True)
    loss = hinge.critic(real, made)
    loss.backward()
    assert loss == 0
    assert not real.grad.any()
    assert not made.grad.any()
    assert hinge.critic(torch.tensor([0.0]), torch.tensor([0.0])) == 2


def test_least_squares_is_smallest_at_one_and_nought() -> None:
    squares = GAMES["least-squares"]
    best = squares.critic(torch.tensor([1.0]), torch.tensor([0.0]))
    assert best == 0
    assert all(squares.critic(torch.tensor([1.0 + d]), torch.tensor([-d])) > 0 for d in (-0.5, 0.5))
    assert squares.generator(torch.tensor([1.0])) == 0


@pytest.mark.parametrize("game", list(GAMES))
def test_a_generators_loss_falls_as_the_score_of_the_made_rises(game: str) -> None:
    made = torch.tensor([-0.5], requires_grad=True)
    GAMES[game].generator(made).backward()  # type: ignore[index]
    assert made.grad.item() < 0


def test_cross_entropy_takes_scores_for_logits() -> None:
    """Independently: torch's own loss against ones and zeros."""
    real, made = torch.tensor([0.3, -2.0]), torch.tensor([1.5, 0.0, -0.7])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(real, torch.ones(2)) + bce(made, torch.zeros(3))
    assert float(GAMES["bce"].critic(real, made)) == pytest.approx(float(expected))
    assert float(GAMES["bce"].generator(made)) == pytest.approx(float(bce(made, torch.ones(3))))
    assert GAMES["bce"].critic(torch.tensor([1e4]), torch.tensor([-1e4])) == 0


@pytest.mark.parametrize("game", list(GAMES))
def test_learning_the_critic_lowers_its_loss_and_leaves_the_made_alone(game: str) -> None:
    one = adversary(game)
    real, made = noise()[:, None], (0.1 * noise(seed=2)[:, None]).requires_grad_()
    losses = [one.learn(rounds(real, made))["critic"] for _ in range(5)]
    assert losses[-1] < losses[0]
    assert not losses[0].requires_grad
    assert made.grad is None


def test_learning_leaves_what_was_said_before_the_step_without_gradient() -> None:
    one = adversary()
    real = noise()[:, None]
    with torch.no_grad():
        before = one.critic(real)
    (played,) = rounds(real, 0.1 * real)
    one.learn([played])
    said = played.said_of_real
    assert said is not None
    for said_scale, scale in zip(said.layers, before, strict=True):
        assert not any(layer.requires_grad for layer in said_scale)
        assert all(torch.equal(one, other) for one, other in zip(said_scale, scale, strict=True))
    assert [len(scale) for scale in said.features] == [1, 1]
    assert [score.shape[1] for score in said.scores] == [1, 1]


def test_a_critic_learns_the_same_from_pieces() -> None:
    real, made = noise(3)[:, None], 0.1 * noise(3, seed=2)[:, None]
    whole, pieces = adversary(), adversary()
    losses = [whole.learn(rounds(real, made))["critic"], pieces.learn(rounds(real, made, pieces=2))["critic"]]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-6)
    for one, other in zip(whole.critic.parameters(), pieces.critic.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_what_is_made_of_a_whole_batch_is_made_once_and_of_a_piece_twice() -> None:
    counts = []
    for pieces in (1, 2):
        made = noise(2)[:, None].requires_grad_()
        forwards: list[bool] = []

        def make(part: Batch, forwards: list[bool] = forwards, made: Tensor = made) -> Tensor:
            forwards.append(torch.is_grad_enabled())
            return 2 * made[: len(part)]

        batch = Batch(audio=noise(2), features=noise(2))
        parts = Engine("cpu", Numerics(accumulate=pieces)).pieces(batch)
        for one in play(parts, real=lambda part: part.audio[:, None], make=make):
            assert not one.shown().requires_grad
            one.made().sum().backward()
        counts.append(forwards)
        assert made.grad is not None
        assert made.grad.sum() == 2 * made.numel()
    assert counts == [[True], [False, True, False, True]]


def test_judging_gives_the_made_a_gradient_and_the_critic_none() -> None:
    one = adversary()
    made = noise()[:, None].requires_grad_()
    one.fooled(one.judge(made)).backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in one.critic.parameters())


class Conditional(nn.Module):
    """Scores what it hears by what it was told: `given * mean + given * weight`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, heard: Tensor, given: Tensor) -> list[list[Tensor]]:
        return [[given * (heard.mean(dim=(1, 2)) + self.weight)]]


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_conditional_critic_is_told_of_each_item_what_it_is(pieces: int) -> None:
    critic = Conditional()
    one = Adversary(critic, torch.optim.SGD(critic.parameters(), 0.1), "least-squares", Engine())
    batch = Batch(audio=noise(4), features=0.1 * noise(4), labels=torch.tensor([0.0, 1.0, 2.0, 5.0]))
    played = play(
        Engine("cpu", Numerics(accumulate=pieces)).pieces(batch),
        real=lambda part: part.audio[:, None],
        make=lambda part: part.features[:, None],
        given=lambda part: part.labels,
    )
    assert batch.labels is not None
    real, made = (batch.labels * (sound.mean(dim=1) + 0.5) for sound in (batch.audio, batch.features))
    expected = (1 - real).square().mean() + made.square().mean()
    assert float(one.learn(played)["critic"]) == pytest.approx(float(expected), rel=1e-5)
    for round_, labels in zip(played, batch.labels.split(4 // pieces), strict=True):
        said = one.judge(round_.made(), round_.given)
        assert torch.equal(said.scores[0] == 0, labels == 0)


def test_the_penalty_is_the_squared_slope_of_an_items_score() -> None:
    """A critic with the score `sum(w x^2)` has the gradient `2 w x`; the step of the weight follows from the whole loss."""

    class Bowl(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(0.1))

        def forward(self, heard: Tensor) -> list[list[Tensor]]:
            return [[self.weight * heard.square().sum(dim=(1, 2))[:, None].expand(-1, 7)]]

    def stepped(r1_weight: float) -> tuple[dict[str, Tensor], float]:
        critic = Bowl()
        one = Adversary(critic, torch.optim.SGD(critic.parameters(), 1e-3), "least-squares", Engine())
        return one.learn(rounds(noise()[:, None], noise(seed=2)[:, None]), r1_weight=r1_weight), critic.weight.item()

    (plain, without), (terms, weight) = stepped(0.0), stepped(3.0)
    squares = float(noise().square().sum(dim=1).mean())
    assert plain.keys() == {"critic"}
    assert float(terms["critic"]) == float(plain["critic"])
    assert float(terms["r1"]) == pytest.approx(4 * 0.1**2 * squares, rel=1e-4)
    assert without - weight == pytest.approx(1e-3 * 0.5 * 3 * 8 * 0.1 * squares, rel=1e-2)


def test_scores_are_averaged_over_a_map_and_added_over_the_scales() -> None:
    one = adversary()
    maps = (torch.tensor([1.0, 3.0]), torch.tensor([5.0]))
    assert one.fooled(Judgement(tuple((score, score) for score in maps))) == -7


def test_feature_matching_adds_over_layers_and_averages_over_scales() -> None:
    real = [[torch.zeros(2, 3), torch.zeros(4)], [torch.zeros(1), torch.zeros(5)]]
    made = [[torch.full((2, 3), 1.0), torch.full((4,), -2.0)], [torch.tensor([3.0]), torch.zeros(5)]]
    assert feature_matching(made, real) == (1 + 2 + 3 + 0) / 2


def test_feature_matching_teaches_the_made_alone() -> None:
    made, real = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    feature_matching([[made]], [[real]]).backward()
    assert made.grad is not None
    assert real.grad is None


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 4.0])
def test_multi_resolution_stft_of_a_louder_sound(scale: float) -> None:
    """`a x` against `x`: convergence |1 - a|, log magnitudes |ln a|."""
    sound = noise()
    expected = abs(1 - scale) + abs(math.log(scale))
    assert float(multi_resolution_stft(scale * sound, sound)) == pytest.approx(expected, rel=5e-3)


def test_multi_resolution_stft_is_the_mean_of_its_resolutions() -> None:
    made, real = noise(seed=1), noise(seed=2)
    each = [float(multi_resolution_stft(made, real, [resolution])) for resolution in RESOLUTIONS]
    assert float(multi_resolution_stft(made, real)) == pytest.approx(sum(each) / 3, rel=1e-5)
    assert len({round(value, 3) for value in each}) > 1


def test_multi_resolution_stft_agrees_with_torch_stft() -> None:
    """An independent computation of Parallel WaveGAN's formula for one resolution and item, centred by `torch.stft` itself."""
    made, real = noise(seed=1), noise(seed=2)

    def magnitude(samples: Tensor) -> Tensor:
        window = torch.hann_window(600)
        spectrum = torch.stft(samples, 1024, 120, 600, window, center=True, pad_mode="reflect", return_complex=True)
        return spectrum.abs().clamp(min=1e-7**0.5)

    expected = []
    for one, other in zip(made, real, strict=True):
        x, y = magnitude(one), magnitude(other)
        expected.append(float((y - x).norm() / y.norm() + (y.log() - x.log()).abs().mean()))
    assert float(multi_resolution_stft(made, real, RESOLUTIONS[:1])) == pytest.approx(sum(expected) / 2, rel=1e-4)


@pytest.mark.parametrize("loss", ["multi_stft", "mel_l1", "feature_matching"])
def test_losses_are_means_over_items(loss: str) -> None:
    made, real = noise(3, seed=1), torch.tensor([[1.0], [0.1], [0.0]]) * noise(3, seed=2)
    losses = {
        "multi_stft": lambda a, b: multi_resolution_stft(made[a:b], real[a:b]),
        "mel_l1": lambda a, b: mel_l1(made[a:b], dsp.log_mel(real[a:b], SPEC), SPEC),
        "feature_matching": lambda a, b: feature_matching([[made[a:b]]], [[real[a:b]]]),
    }
    one = losses[loss]
    assert float(one(0, 3)) == pytest.approx((float(one(0, 1)) + 2 * float(one(1, 3))) / 3, rel=1e-5)


def test_a_silent_item_weighs_no_more_than_a_quiet_one() -> None:
    """Below -30 dB the convergence of an item no longer grows: it is the level of what is made beside that of such noise."""
    made = 0.1 * noise(1, samples=8000)
    level = float(made.square().mean().sqrt())
    silent = multi_resolution_stft(made, torch.zeros_like(made))
    log_ratio = (
        sum(
            float((dsp_magnitude(made, resolution) / 1e-7**0.5).clamp(min=1).log().mean()) for resolution in RESOLUTIONS
        )
        / 3
    )
    assert float(silent) - log_ratio == pytest.approx(level / QUIETEST, rel=0.05)


def dsp_magnitude(samples: Tensor, resolution: Resolution) -> Tensor:
    n_fft, hop_length, win_length = resolution.n_fft, resolution.hop_length, resolution.win_length
    return torch.stft(samples, n_fft, hop_length, win_length, torch.hann_window(win_length), return_complex=True).abs()


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_spectral_losses_and_scores_are_float32_under_autocast(half: torch.dtype) -> None:
    made, real = noise(seed=1), noise(seed=2)
    features = dsp.log_mel(real, SPEC)
    one = adversary()
    plain = (multi_resolution_stft(made, real), mel_l1(made, features, SPEC))
    with torch.autocast("cpu", dtype=half):
        cast = (multi_resolution_stft(made, real), mel_l1(made, features, SPEC))
        judged = one.judge(made[:, None])
        assert judged.scores[0].dtype == half
        assert one.fooled(judged).dtype == torch.float32
        assert feature_matching(judged.features, judged.features).dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))


def test_multi_resolution_stft_hears_a_shift_in_pitch_more_than_in_phase() -> None:
    time = torch.arange(8000) / 8000
    tone, shifted, higher = (torch.sin(2 * torch.pi * f * time + p)[None] for f, p in ((440, 0), (440, 1), (466, 0)))
    assert multi_resolution_stft(shifted, tone) < 0.5 * multi_resolution_stft(higher, tone)


@pytest.mark.parametrize("samples", [1, 100, 1024, 1025])
def test_short_crops_have_a_multi_resolution_stft(samples: int) -> None:
    assert multi_resolution_stft(noise(2, samples), noise(2, samples, seed=2)).isfinite()


@pytest.mark.parametrize("made_level", [0.0, 0.1])
@pytest.mark.parametrize("real_level", [0.0, 0.1])
def test_gradients_are_finite_at_silence(made_level: float, real_level: float) -> None:
    real = real_level * noise()
    for loss in (
        lambda made: multi_resolution_stft(made, real),
        lambda made: mel_l1(made, dsp.log_mel(real, SPEC), SPEC),
    ):
        made = (made_level * noise(seed=2)).requires_grad_()
        value = loss(made)
        value.backward()
        assert value.isfinite()
        assert made.grad is not None
        assert made.grad.isfinite().all()


@pytest.mark.parametrize(("log", "unit"), [("log10", 1.0), ("ln", math.log(10)), ("db", 10.0)])
def test_mel_l1_is_in_the_units_of_the_spec(log: str, unit: float) -> None:
    spec = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=128, n_mels=20, log=log, floor=1e-9)  # type: ignore[arg-type]
    features = dsp.log_mel(noise(), spec)
    assert float(mel_l1(0.1 * noise(), features, spec)) == pytest.approx(unit, rel=2e-3)
    assert mel_l1(noise(), features, spec) == 0
