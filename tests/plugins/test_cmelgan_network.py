"""The published sizes and shapes, what is wrong in the published code and must not return, and clips longer than a window."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from synthkit.errors import ConfigError
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded
from synthkit_cmelgan.config import CMelGANConfig, CMelGANObjectiveConfig, MapConfig, MapCriticConfig
from synthkit_cmelgan.maps import MapCritic, MapGenerator
from synthkit_cmelgan.network import build_critic, build_generator
from synthkit_cmelgan.paths import PathCritic, PathGenerator

SPEC = FeatureSpec(sample_rate=22050, n_fft=2048, hop_length=864, n_mels=256, floor=1e-5)
SMALL = {"start_channels": 8, "channels": (8, 4, 1), "kernels": (4, 4, 8), "strides": (4, 2, 2), "dropout": 0.5}


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(rows: int = 2, columns: int = 4, dropout: float = 0.5) -> MapGenerator:
    with seeded(3):
        sizes = {**SMALL, "dropout": dropout}
        return MapGenerator(2, rows, columns, noise=32, residual_layers=2, **sizes).eval()  # type: ignore[arg-type]


def path_generator() -> PathGenerator:
    """One whose noise is heard although it has not learned."""
    with seeded(3):
        network = PathGenerator(2, 20, 16, 8, 4, 4).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.ConvTranspose2d):
                module.weight.mul_(10)
    return network


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("published", 13_177_652), ("published-1d", 24_016_692)],
)
def test_the_published_generators_have_their_sizes_and_none_of_it_is_dead(preset: str, parameters: int) -> None:
    """The authors' network has 24,016,692 parameters, of which it uses 13,177,652: here both numbers are of what is used."""
    config = CMelGANConfig.model_validate({"preset": preset})
    with torch.device("meta"):
        generator = build_generator(config, SPEC, classes=3)
        assert size(generator) == parameters
        made = generator.network(torch.zeros(2, 0), torch.zeros(2, 1, 128), torch.zeros(2, 3))
    assert made.shape == (2, 256, 256)
    assert config.map.window == 256


def test_every_parameter_of_the_variants_shapes_what_is_made() -> None:
    with seeded(1):
        network = MapGenerator(2, 2, noise=6, residual_layers=2, refine=(4, 3), **{**SMALL, "dropout": 0.0})  # type: ignore[arg-type]
    (network(torch.zeros(2, 0), normal(2, 1, 6), torch.eye(2)) * normal(2, 32, 64, seed=5)).sum().backward()
    dead = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    # The direction of a weight-normed 1 x 1 convolution of one channel to one is a sign, which has no gradient.
    assert all(name.startswith("stages.2.3.") and name.endswith("original1") for name in dead), dead


def test_the_published_critic_has_its_size_and_pads_no_layer_by_more_than_half_its_kernel() -> None:
    """Theirs pads the second layer by 393 on each side, so that of a map of 256 x 256 it sees a patch of 64 x 64."""
    settings = CMelGANObjectiveConfig.model_validate({"preset": "published"})
    critic = build_critic(settings, CMelGANConfig.model_validate({"preset": "published"}), SPEC, classes=3)
    assert size(critic) == 1_201_345
    convolutions = [module for module in critic.modules() if isinstance(module, nn.Conv2d)]
    assert [int(conv.padding[0]) for conv in convolutions] == [10, 9, 10, 10, 9, 1]
    assert (settings.adversarial, settings.critic_steps, settings.map_critic.sigmoid) == ("least-squares", 2, True)


def test_the_published_critic_sees_the_whole_map() -> None:
    critic = MapCritic(3, 256, 256)
    features = normal(1, 256, 256).requires_grad_()
    critic(features, torch.tensor([2]))[0][-1].sum().backward()
    assert features.grad is not None
    patches = features.grad[0].abs().unfold(0, 32, 32).unfold(1, 32, 32).sum(dim=(2, 3))
    assert patches.shape == (8, 8)
    assert (patches > 0).all()


@pytest.mark.parametrize("design", ["path", "map"])
def test_a_critic_hears_what_it_is_told(design: str) -> None:
    critic = (
        PathCritic(3, 64, (8, 16, 16), 4).eval()
        if design == "path"
        else MapCritic(3, 64, 64, (4, 8), (5, 6), (1, 4), (1, 4))
    )
    features = normal(1, 64, 64).expand(3, -1, -1)
    scores = [scale[-1] for scale in critic(features, torch.arange(3))]
    assert all(not torch.allclose(score[0], score[1]) for score in scores)


def test_the_critic_of_paths_hears_what_all_of_a_batch_have_in_common() -> None:
    """Were it to normalise each batch, a generator whose clips are all too loud would never be told."""
    critic = PathCritic(3, 64, (8, 16, 16), 4).train()
    features, labels = normal(4, 64, 64), torch.tensor([0, 1, 2, 0])
    together, alone = critic(features, labels)[0], critic(features[:1], labels[:1])[0]
    assert all(torch.allclose(some[:1], one, atol=1e-5) for some, one in zip(together, alone, strict=True))
    louder = critic(features + 1, labels)[0]
    assert all(
        not torch.allclose(some.mean(), more.mean(), atol=1e-3) for some, more in zip(together, louder, strict=True)
    )


def test_one_window_is_the_published_network() -> None:
    """Plainly: noise times embedding, linear, leaky ReLU, the stages."""
    network = small()
    noise, label = normal(1, 1, 32), torch.tensor([1])
    told = network.linear(noise[:, 0] * network.embedding(label)).view(1, 8, 2, 4)
    expected = functional.leaky_relu(told, 0.2)
    for stage in network.stages:
        expected = stage(expected)
    made = network(torch.zeros(1, 0), noise, torch.eye(2)[1:])
    assert made.shape == (1, 32, 64)
    assert torch.allclose(made, expected[:, 0], atol=1e-5)


@pytest.mark.parametrize(("frames", "windows"), [(1, 1), (64, 1), (65, 2), (96, 2), (97, 3), (1000, 31)])
def test_windows_overlap_by_half(frames: int, windows: int) -> None:
    network = small()
    assert network.steps(frames) == windows
    assert network(torch.zeros(1, 0), normal(1, windows, 32), torch.eye(2)[:1]).shape[2] == 32 * (windows + 1) >= frames


def test_windows_are_faded_without_a_seam() -> None:
    """A network whose windows hold still changes from one to the next in small steps; side by side there would be a jump."""
    network = small()
    with torch.no_grad():
        for weights in (network.linear.weight, network.linear.bias):
            columns = weights.view(8, 2, 4, -1)
            columns.copy_(columns[:, :, :1].expand_as(columns).clone())
        label, noise = torch.eye(2)[:1].expand(64, -1), normal(64, 3, 32)
        faded = network(torch.zeros(64, 0), noise, label)
        alone = [network(torch.zeros(64, 0), noise[:, place : place + 1], label) for place in range(2)]
    jump = seam_energy(torch.cat(alone, dim=2), 64)
    assert jump > 3 * seam_energy(alone[0], 48)
    assert max(seam_energy(faded, place) for place in range(32, 112, 16)) < 0.4 * jump


def seam_energy(features: Tensor, place: int) -> float:
    """Mean square of the change from the frames before a place to those after it, four of each."""
    before, after = features[..., place - 4 : place].mean(dim=2), features[..., place : place + 4].mean(dim=2)
    return float((after - before).square().mean())


@pytest.mark.parametrize("stages", [1, 2, 4, 6])
@pytest.mark.parametrize("frames", [1, 15, 16, 64, 65, 200])
def test_a_path_has_the_steps_that_its_frames_need_and_none_more(stages: int, frames: int) -> None:
    network = PathGenerator(2, 5, 4, 3, 2, stages).eval()
    made = network(torch.zeros(1, 3), torch.zeros(1, network.steps(frames), 2), torch.eye(2)[:1])
    assert frames <= made.shape[2] < frames + 2**stages


def test_a_path_has_no_seam_because_every_step_is_computed_alike() -> None:
    """A path that begins a step later gives the same features 16 frames earlier: there is no first, last or window border."""
    network = path_generator()
    style, path, label = normal(1, 8), normal(1, 40, 4, seed=2), torch.eye(2)[:1]
    with torch.no_grad():
        whole, later = network(style, path, label), network(style, path[:, 7:], label)
    assert torch.allclose(whole[..., 7 * 16 :], later, atol=1e-5)


def test_the_style_tints_the_whole_clip_and_a_step_of_the_path_a_part() -> None:
    network = path_generator()
    label, style, path = torch.eye(2)[:1], normal(1, 8), normal(1, 40, 4, seed=2)
    other = path.clone()
    other[:, 20] += 1
    with torch.no_grad():
        made, restyled = network(style, path, label), network(style + 1, path, label)
        bent = network(style, other, label)
    assert (made - restyled).abs().amax(dim=1).min() > 0
    touched = (made - bent).abs().amax(dim=(0, 1)).nonzero().flatten()
    assert 16 <= len(touched) <= 5 * 16
    assert touched.diff().max() == 1


def test_the_course_of_a_clip_is_drawn_without_the_picture_too() -> None:
    with seeded(3):
        network = PathGenerator(classes=2, n_mels=16, width=8, style=4, step=3, stages=2).eval()
    with torch.no_grad():
        for weight in network.rises.parameters():
            weight.zero_()  # nothing of the picture arrives
        features = network(normal(1, 4), normal(1, network.steps(40), 3), torch.eye(2)[:1])
    assert (features.std(dim=2) > 1e-4).all()  # all bands move


def test_a_label_is_heard_at_every_size_of_the_picture() -> None:
    """Told in the first picture alone, it was a tint of one sound for all labels after the steps of the quickstart."""
    network = path_generator()
    style, path, labels = normal(1, 8).expand(2, -1), normal(1, 9, 4, seed=2).expand(2, -1, -1), torch.eye(2)
    told = [value for name, value in network.norms.named_parameters() if name.endswith("told.weight")]
    first = [it.weight for it in network.modules() if isinstance(it, nn.Conv1d) and it.kernel_size == (3,)]
    assert (len(told), len(first)) == (4, 2)
    with torch.no_grad():
        kept = [weight.clone() for weight in told]
        for weight in (*(weight[:, 4:] for weight in first), *told):
            weight.zero_()
        assert torch.equal(*network(style, path, labels))
        for weight, value in zip(told, kept, strict=True):
            weight.copy_(10 * value)
            one, other = network(style, path, labels)
            assert (one - other).abs().max() > 1e-3
            weight.zero_()


def test_features_in_linear_units_are_refused() -> None:
    """The published network learns raw powers, over ten orders of magnitude."""
    with pytest.raises(ConfigError, match=r"needs features with a log .* set log to log10"):
        CMelGANConfig().check_spec(PRESETS["cmelgan"].spec)


@pytest.mark.parametrize(
    ("settings", "n_mels", "message"),
    [
        ({"preset": "published"}, 80, "a multiple of 64 bands, but the features have n_mels 80; n_mels 64 fits them"),
        (
            {"design": "map", "map": {"strides": (2, 2, 2, 2), "kernels": (4, 4, 4, 4)}},
            32,
            "8 wide or high|4 wide or high",
        ),
    ],
)
def test_bands_that_no_map_has_are_refused(settings: dict[str, object], n_mels: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CMelGANConfig.model_validate(settings).check_spec(
            FeatureSpec(sample_rate=8000, n_fft=512, hop_length=64, n_mels=n_mels)
        )


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (MapConfig, {"channels": (8, 1)}, "a number for each stage"),
        (MapConfig, {"channels": (512, 128, 32, 2)}, "its channels must be 1, not 2"),
        (MapConfig, {"kernels": (4, 4, 8, 7)}, "7 and 2 do not"),
        (MapCriticConfig, {"kernels": (3, 3)}, "a number for each layer"),
        (
            MapCriticConfig,
            {"groups": (1, 3, 16, 16, 32, 64)},
            "groups 3 must divide the channels of its layer, 16 and 32",
        ),
        (CMelGANObjectiveConfig, {"map_critic": {"sigmoid": True}}, "bce needs scores that are not squashed"),
        (CMelGANConfig, {"preset": "publisht"}, "'published' or 'published-1d'"),
    ],
)
def test_settings_that_contradict_each_other(model: type, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate(settings)  # type: ignore[attr-defined]


def test_what_is_written_lies_over_the_preset() -> None:
    config = CMelGANConfig.model_validate({"preset": "published-1d", "map": {"dropout": 0.25}})
    assert (config.map.dropout, config.map.refine, config.design) == (0.25, (4, 8, 24, 24, 30), "map")
    assert CMelGANConfig.model_validate(config.model_dump()) == config
    settings = CMelGANObjectiveConfig.model_validate({"preset": "published", "learning_rate": 2e-4})
    assert (settings.learning_rate, settings.betas, math.isclose(settings.r1_weight, 0)) == (2e-4, (0.9, 0.999), True)
