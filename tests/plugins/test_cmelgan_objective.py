"""How cMelGAN learns: the laws of objectives, labels that are told apart, axes that are right, a collapse that is seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError, TrainingError
from synthkit.interfaces import Batch, Request
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.training.average import Average
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit_cmelgan.config import CMelGANConfig, CMelGANObjectiveConfig
from synthkit_cmelgan.model import CMelGAN
from synthkit_cmelgan.objective import CMelGANObjective
from synthkit_cmelgan.paths import PathGenerator

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=16, floor=1e-3)
LABELS = ("down", "up")
MODELS: dict[str, dict[str, Any]] = {
    "path": {"path": {"width": 32, "style": 4, "step": 3, "stages": 3}},
    "map": {
        "preset": "published-1d",
        "map": {
            "noise": 6,
            "start_channels": 4,
            "columns": 4,
            "channels": [6, 4, 1],
            "kernels": [4, 4, 3],
            "strides": [4, 2, 1],
            "residual_layers": 2,
            "refine": [4],
            "dropout": 0.0,
        },
    },
}
CRITICS: dict[str, Any] = {
    "critic": {"channels": [16, 32], "columns": 4},
    "map_critic": {"channels": [4, 8], "kernels": [5, 6], "strides": [1, 4], "groups": [1, 4], "sigmoid": False},
}
GAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("path", {}),
    "hinge": ("path", {"adversarial": "hinge", "r1_weight": 0.1, "critic_steps": 2}),
    "published": ("map", {"preset": "published"}),
    "map-hinge": ("map", {"adversarial": "hinge"}),
}
# While both scores lie within the hinge's margin, the gradients of the real and the made cancel at what is added to every score.
# A weight-normed 1 x 1 convolution of one channel to one has a length, and no direction to learn.
STILL = (
    "objective.critic.*any.bias",
    "objective.critic.hidden.bias",
    "objective.critic.score.bias",
    "generator.network.stages.2.3.*.original1",
)


def build(
    game: str, engine: Engine | None = None, labels: tuple[str, ...] = LABELS, **changes: Any
) -> CMelGANObjective:
    design, settings = GAMES[game]
    config = CMelGANObjectiveConfig.model_validate({**CRITICS, **settings, **changes})
    return CMelGANObjective(
        config, CMelGAN(CMelGANConfig.model_validate(MODELS[design]), SPEC, labels), engine or Engine()
    )


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{game}-{check}")
        for game in GAMES
        for check in battery("objective", lambda engine, game=game: build(game, engine), still=STILL)
        # On a CPU each process normalises by its own share of a batch: see docs/distributed.md.
        if GAMES[game][0] == "map" or str(check) != "objective-a-batch-shared"
    ],
)
def test_the_laws_of_objectives(check: Any) -> None:
    check()


def sweeps(step: int, count: int = 16, frames: int = 16) -> Batch:
    """A band of sound that rises by half a band per frame, or falls, and comes round again: `[B, 16, 16]`, a square.

    It has no beginning, so that nothing in a crop says where it was cut, just as a long clip does not.
    """
    random = torch.Generator().manual_seed(step)
    labels = torch.arange(count) % 2
    middle = 16 * torch.rand(count, 1, generator=random) + (labels * 2 - 1)[:, None] / 2 * torch.arange(frames)
    away = (torch.arange(16.0)[None, :, None] - middle[:, None] + 8) % 16 - 8
    level = torch.exp(-0.5 * (away / 0.8).square())
    return Batch(audio=torch.zeros(count, frames * 64), features=-3 + 3 * level, labels=labels)


def slope_of(features: Tensor, later: int = 4) -> Tensor:
    """`[B]`: bands per frame by which features `[B, M, N]` have to be moved to be most like themselves a little later."""
    heard, moves = features + 3, torch.arange(-8, 8)
    likeness = [(heard[..., later:] * heard.roll(int(move), 1)[..., :-later]).sum((1, 2)) for move in moves]
    return moves[torch.stack(likeness, 1).argmax(1)] / later


def trained(game: str, steps: int, **changes: Any) -> tuple[CMelGANObjective, Average]:
    with seeded(1):
        objective = build(game, **changes)
    objective.survey(sweeps(1000 + number) for number in range(8))
    average = Average(objective.component.networks, 0.98)
    for step in range(1, steps + 1):
        objective._engine.begin(step)
        with seeded(step):
            objective.step(sweeps(step))
        average.update()
    return objective, average


@pytest.fixture(scope="module")
def learned() -> tuple[CMelGANObjective, Average]:
    return trained("default", 700, learning_rate=1e-3, critic_learning_rate=2e-3, r1_weight=1.0)


def test_a_rising_tone_rises_and_a_falling_one_falls(learned: tuple[CMelGANObjective, Average]) -> None:
    """Maps are square here, as the published ones are: with the axes swapped a tone of half a band per frame would move by two."""
    objective, average = learned
    real = sweeps(7)
    assert slope_of(real.features).tolist() == [-0.5, 0.5] * 8
    assert slope_of(real.features.transpose(1, 2)).abs().min() > 1
    request = Request(frames=16, count=40, labels=("down", "up") * 20, seeds=tuple(range(40)))
    with average.applied():
        slopes = slope_of(objective.component.generate(request))
    assert 0.3 < slopes[1::2].mean() < 0.7
    assert -0.7 < slopes[::2].mean() < -0.3
    assert ((slopes > 0) == (torch.arange(40) % 2 == 1)).float().mean() > 0.9


def test_what_is_learned_is_near_the_real_and_varied(learned: tuple[CMelGANObjective, Average]) -> None:
    objective, average = learned
    with seeded(1):
        fresh = build("default")
    fresh.survey(sweeps(1000 + number) for number in range(8))
    with average.applied(), torch.no_grad():
        distance = float(objective.evaluate(sweeps(5))["frame_distance"])
        assert distance < 0.5 * float(fresh.evaluate(sweeps(5))["frame_distance"])
        assert objective._variety(16).min() > 0.3


def test_an_evaluation_does_not_depend_on_the_critic(learned: tuple[CMelGANObjective, Average]) -> None:
    """The published validation reuses what the critic said in training, and counts its mistakes as hits."""
    objective, _ = learned
    objective._engine.begin(3)
    before = objective.evaluate(sweeps(5))
    kept = {name: value.clone() for name, value in objective.networks["critic"].state_dict().items()}
    with torch.no_grad():
        for parameter in objective.networks["critic"].parameters():
            parameter.neg_()
    after = objective.evaluate(sweeps(5))
    objective.networks["critic"].load_state_dict(kept)
    assert before == after
    assert not before["frame_distance"].requires_grad


def test_a_survey_fits_the_scaling_and_measures_the_variety() -> None:
    objective = build("default")
    batch = sweeps(1, count=64)
    objective.survey([batch.piece(0, 32), batch.piece(32, 64)])
    scaled = objective.component.generator.scaling(batch.features)
    assert scaled.aminmax() == pytest.approx((-1, 1))
    assert objective.component.generator.variety.shape == (2,)
    assert (objective.component.generator.variety > 0.3).all()


def test_a_survey_gives_the_published_network_a_variance_of_1() -> None:
    objective = build("published")
    batch = sweeps(1, count=64, frames=32)
    objective.survey([batch])
    scaled = objective.component.generator.scaling(batch.features)
    assert scaled.mean().abs() < 1e-5
    assert scaled.std() == pytest.approx(1, abs=0.1)


def test_a_generator_that_has_collapsed_stops_the_training_with_its_label() -> None:
    objective = build("default", variety_every=1, variety_patience=3, least_variety=0.2)
    objective.survey([sweeps(1, count=64)])
    with torch.no_grad():  # whatever the noise, the label alone decides
        network = objective.component.generator.network
        assert isinstance(network, PathGenerator)
        for layer in network.modules():
            if isinstance(layer, nn.Conv1d) and layer.kernel_size == (3,):
                layer.weight[:, :3] = 0
        mapping = network.mapping[0]
        assert isinstance(mapping, nn.Linear)
        mapping.weight[:, :4] = 0
    assert float(objective.step(sweeps(1))["variety"]) < 0.2
    objective.step(sweeps(2))
    with pytest.raises(
        TrainingError, match=r"step 3: the generator has collapsed: its clips of '(down|up)' vary .* % as much"
    ):
        objective.step(sweeps(3))


def test_a_varied_generator_is_left_alone() -> None:
    objective = build("default", variety_every=2, variety_patience=3)
    objective.survey([sweeps(1, count=64)])
    terms = [objective.step(sweeps(step)) for step in (1, 2, 3, 4)]
    assert ["variety" in told for told in terms] == [False, True, False, True]


def test_data_without_labels_is_one_class() -> None:
    objective = build("default", labels=())
    batch = sweeps(1)
    batch.labels = None
    objective.survey([batch])
    objective.step(batch)
    assert objective.component.generate(Request(frames=9, seeds=(1,))).shape == (1, 16, 9)


def test_the_penalty_comes_every_so_many_steps() -> None:
    objective = build("default", r1_weight=1.0, r1_every=3)
    assert ["r1" in objective.step(sweeps(step)) for step in range(5)] == [True, False, False, True, False]


def test_means_are_matched_in_the_design_path_alone() -> None:
    """They are of a whole batch, which the published network may be given in pieces."""
    objective, without = build("default"), build("default", means_weight=0.0)
    assert ("means" in objective.step(sweeps(1)), "means" in without.step(sweeps(1))) == (True, False)
    assert "means" not in build("published").step(sweeps(1, frames=32))


@pytest.mark.parametrize(
    ("game", "frames", "message"),
    [
        ("default", 15, r"at least 16 frames, not 15; set crop_seconds to 0\.128 or more"),
        ("published", 16, r"exactly 32 frames, not 16; set crop_seconds to 0\.2560"),
    ],
)
def test_crops_that_do_not_fit_are_refused(game: str, frames: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(game).step(sweeps(1, frames=frames))


def test_compiled_networks_have_no_second_derivatives() -> None:
    with pytest.raises(ConfigError, match="r1_weight needs second derivatives"):
        build("default", Engine("cpu", Numerics(compile=True)), r1_weight=1.0)


def test_a_batch_is_normalised_as_a_whole_and_not_in_pieces() -> None:
    with pytest.raises(ConfigError, match="set accumulate to 1"):
        build("default", Engine("cpu", Numerics(accumulate=2)))
    build("published", Engine("cpu", Numerics(accumulate=2)))
