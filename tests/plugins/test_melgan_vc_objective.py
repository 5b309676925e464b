"""How MelGAN-VC learns: laws, which network moves when, the terms as the paper writes them, and which way it is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit import dsp
from synthkit.errors import ConfigError
from synthkit.interfaces import Batch
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.testing.sounds import sounds
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit_melgan_vc.config import MelGANVCConfig, MelGANVCObjectiveConfig
from synthkit_melgan_vc.content import Content, Listener, courses
from synthkit_melgan_vc.converter import MelGANVC
from synthkit_melgan_vc.objective import MelGANVCObjective

SPEC = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=32)
LABELS = ("bells", "melody", "noise")
SOURCE, TARGET, OTHER = 1, 0, 2
LIGHT = MelGANVCConfig(source="melody", target="bells", channels=8, piece_frames=12)
CONVERTERS = {
    "light": LIGHT,
    "melgan-vc": MelGANVCConfig(
        source="melody", target="bells", preset="melgan-vc", channels=8, piece_frames=8, norm="item"
    ),
    "travelgan": MelGANVCConfig(
        source="melody", target="bells", preset="travelgan", channels=2, piece_frames=32, norm="item"
    ),
}
DEFAULT = MelGANVCObjectiveConfig()
# While all scores lie within the hinge's margin, the gradients of the real and the made cancel at the last bias.
STILL = ("objective.critic*.last.bias",)


def build(
    config: MelGANVCObjectiveConfig = DEFAULT, converter: MelGANVCConfig = LIGHT, engine: Engine | None = None
) -> MelGANVCObjective:
    component = MelGANVC(converter, SPEC, LABELS)
    component.scaling.fit_range([torch.tensor([[[-5.0, 2.0]] * SPEC.n_mels])])
    return MelGANVCObjective(config, component, engine or Engine())


def batch(labels: tuple[int, ...] = (SOURCE, TARGET) * 3, frames: int = 64) -> Batch:
    audio = sounds(SPEC.sample_rate, SPEC.samples(frames), len(labels))
    return Batch(audio=audio, features=dsp.log_mel(audio, SPEC), labels=torch.tensor(labels))


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "check",
    [
        check
        for converter in CONVERTERS.values()
        for check in battery(
            "objective",
            lambda engine, it=converter: build(converter=it, engine=engine),
            config=DEFAULT,
            # Pairs of a source and a target crop: both halves of a batch have as many of each.
            batch=batch((SOURCE, TARGET) * 2),
            still=STILL,
        )
    ],
    ids=str,
)
def test_the_laws_of_objectives(check: Any) -> None:
    check()


def test_a_batch_norm_cannot_learn_in_pieces() -> None:
    with pytest.raises(ConfigError, match="converter's norm to item"):
        build(
            converter=MelGANVCConfig(source="melody", target="bells", preset="melgan-vc"),
            engine=Engine(numerics=Numerics(accumulate=2)),
        )


def test_the_critic_learns_in_every_step_and_the_others_in_every_third() -> None:
    objective = build(MelGANVCObjectiveConfig(every=3))
    assert objective.siamese is not None
    moved = []
    for step in range(4):
        before = [state(it) for it in (objective.critic, objective.component.generator, objective.siamese)]
        with seeded(step):
            terms = objective.step(batch())
        after = [state(it) for it in (objective.critic, objective.component.generator, objective.siamese)]
        moved.append(tuple(not same(a, b) for a, b in zip(before, after, strict=True)))
        assert ("generator" in terms) == (step % 3 == 0)
    assert moved == [(True, True, True), (True, False, False), (True, False, False), (True, True, True)]


def test_terms_are_those_of_the_paper() -> None:
    """Section 3 of MelGAN-VC and its code, written out by hand."""
    objective = build(MelGANVCObjectiveConfig(learning_rate=1e-12, critic_learning_rate=1e-12), CONVERTERS["melgan-vc"])
    data = batch()
    component, siamese = objective.component, objective.siamese
    assert siamese is not None
    terms = objective.step(data)
    assert data.labels is not None
    a = component.scaling(data.features[data.labels == SOURCE])[..., :24]
    b = component.scaling(data.features[data.labels == TARGET])[..., :24]
    with torch.no_grad():
        parts = [component.generator(piece) for piece in a.split(8, dim=-1)]
        whole = torch.cat(parts, dim=-1)
        real, made = objective.critic(b)[0][-1], objective.critic(whole)[0][-1]
        critic = 0.5 * (functional.relu(1 - real).mean() + functional.relu(1 + made).mean())
        differs = siamese(a[..., :8]) - siamese(a[..., 16:])
        after = siamese(parts[0]) - siamese(parts[2])
        travel = (differs - after).square().mean() - functional.cosine_similarity(differs, after).mean()
        margin = functional.relu(2 - differs.norm(dim=1)).square().mean()
        identity = torch.stack([(component.generator(it) - it).abs().mean() for it in b.split(8, dim=-1)]).mean()
    wanted = {
        "critic": critic,
        "adversarial": -made.mean(),
        "travel": travel,
        "margin": margin,
        "identity": identity,
        "generator": -made.mean() + 10 * (travel + margin) + 0.5 * identity,
    }
    assert set(terms) == set(wanted)
    for name, value in wanted.items():
        assert float(terms[name]) == pytest.approx(float(value), abs=2e-4), name


def test_the_critic_hears_the_seams() -> None:
    """What it judges are pieces that were converted one by one: a generator of constants makes steps that it sees."""
    objective = build()

    class Steps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0 + x.mean(dim=(1, 2), keepdim=True)

    objective._generator = Steps()  # type: ignore[assignment]
    made = objective._made(batch(frames=36))
    steps = made.diff(dim=-1).abs().amax(dim=(0, 1))
    assert [place for place, size in enumerate(steps) if size > 1e-6] == [11, 23]


def test_the_direction_of_training_is_that_of_the_labels() -> None:
    """Starting project 001 updated its generator with the two domains changed over.

    The generator that is trained is the one that converts, from the source: crops of the target alone never reach it but for the
    identity, and which label is the source the settings say, whatever their order in the data.
    """
    for converter, source in (
        (LIGHT, SOURCE),
        (MelGANVCConfig(source="bells", target="melody", channels=8, piece_frames=12), TARGET),
    ):
        objective = build(MelGANVCObjectiveConfig(identity_weight=0), converter)
        heard: list[Tensor] = []
        objective.component.generator.register_forward_pre_hook(lambda _, given, heard=heard: heard.append(given[0]))
        judged: list[Tensor] = []
        objective.critic.register_forward_pre_hook(lambda _, given, judged=judged: judged.append(given[0]))
        data = batch((SOURCE, TARGET, OTHER) * 2)
        assert data.labels is not None
        scaled = objective.component.scaling(data.features)[..., :36]
        objective.step(data)
        pieces = torch.cat(heard)
        from_source = scaled[data.labels == source].unflatten(-1, (3, 12)).movedim(2, 1).flatten(0, 1)
        assert torch.allclose(pieces, from_source, atol=1e-5)  # nothing is carried before a survey
        real = scaled[data.labels == (SOURCE + TARGET - source)]
        assert torch.equal(judged[1], real)  # after what was made of the source


def test_equally_many_crops_of_both_labels_are_used() -> None:
    objective = build()
    sizes: list[int] = []
    objective.critic.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    objective.step(batch((SOURCE, SOURCE, SOURCE, TARGET, TARGET, OTHER)))
    assert sizes == [2, 2, 2]  # made, real, and made again for the generator


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((SOURCE, OTHER), "of the 2 crops of this batch none is of the target 'bells'; set train.balance"),
        ((TARGET, TARGET, OTHER), "of the 3 crops of this batch none is of the source 'melody'; set train.balance"),
    ],
)
def test_a_batch_without_one_of_the_labels_is_refused(labels: tuple[int, ...], message: str) -> None:
    objective = build()
    with pytest.raises(ConfigError, match=message):
        objective.step(batch(labels))
    with pytest.raises(ConfigError, match=message):
        objective.evaluate(batch(labels))


def test_crops_that_cannot_be_used_are_refused() -> None:
    objective = build()
    with pytest.raises(ConfigError, match=r"at least 36 frames, not 20; set crop_seconds to 0.2880"):
        objective.step(batch(frames=20))
    data = batch()
    data.labels = None
    with pytest.raises(ConfigError, match="the clips have none"):
        objective.step(data)
    with pytest.raises(ConfigError, match="the clips have none"):
        objective.survey([data])
    with pytest.raises(ConfigError, match="no crop has the label 'melody'"):
        objective.survey([batch((OTHER, OTHER))])


def test_a_survey_fits_the_range_of_the_two_labels() -> None:
    """Value range: what a network sees lies in -1..1, and all of -1..1 is some value of the features."""
    objective = build()
    data, loud = batch(), batch((OTHER, OTHER))
    loud.features = loud.features + 50
    objective.survey(iter([data, loud]))
    scaled = objective.component.scaling(data.features)
    assert (float(scaled.min()), float(scaled.max())) == pytest.approx((-1.0, 1.0))


def test_training_goes_on_in_training_mode_after_a_conversion() -> None:
    """Starting project 001 stayed in evaluation mode after its first samples: batch normalisation learned nothing any more."""
    converter = MelGANVCConfig(source="melody", target="bells", preset="melgan-vc", channels=8, piece_frames=8)
    objective = build(converter=converter)
    objective.step(batch())
    objective.component.convert(batch().features)
    objective.evaluate(batch())
    generator = objective.component.generator
    assert all(module.training for module in generator.modules())
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm1d)]
    before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    objective.step(batch())
    after = [norm.running_mean for norm in norms if norm.running_mean is not None]
    assert len(before) == 4
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_settings_follow_the_preset_where_nothing_is_said() -> None:
    travel = build(converter=CONVERTERS["travelgan"]).config
    assert (travel.margin, travel.identity_weight, travel.every, travel.travel_weight) == (10, 0, 1, 10)
    own = build(MelGANVCObjectiveConfig(margin=3, travel_weight=0), CONVERTERS["melgan-vc"])
    assert (own.config.margin, own.config.every, own.siamese) == (3, 3, None)
    assert set(own.networks) == {"critic"}


def test_a_critic_of_two_ears_is_undecided_at_the_sum() -> None:
    assert build().undecided() == {"critic": 2.0}
    assert build(converter=CONVERTERS["melgan-vc"]).undecided() == {"critic": 1.0}


def test_content_is_what_rises_and_falls_when() -> None:
    features = batch((SOURCE, TARGET)).features + torch.linspace(-2, 0, 64)
    content = Content(SPEC)
    content.fit([features, features])
    assert float(content(features, features)) < 1e-3
    assert float(content(features - 1.0, features)) < 0.05  # softer
    assert float(content(features.flip(2), features)) > 0.7
    silent = torch.full_like(features, SPEC.silence).requires_grad_()
    (slope,) = torch.autograd.grad(content(silent, silent.detach()), silent)
    assert bool(slope.isfinite().all())


def test_what_is_high_for_the_source_becomes_what_is_high_for_the_target() -> None:
    """The same for every crop, which a correlation within crops of one note each could not ask for."""

    def notes(*bands: int) -> Tensor:
        features = torch.full((len(bands), SPEC.n_mels, 64), SPEC.silence)
        for row, band in enumerate(bands):
            features[row, band, 4:60] = 0.0
        return features

    content = Content(SPEC)
    source = notes(4, 6, 8)
    content.fit([source, notes(16, 18, 20)])
    right, same, turned = (float(content(made, source)) for made in (notes(16, 18, 20), source, notes(20, 18, 16)))
    assert right < 1e-3 < 0.3 < turned < same
    assert content.mean.tolist() == pytest.approx([6, 18], abs=0.1)


def test_what_lies_like_the_source_is_carried_and_what_lies_like_the_target_stays() -> None:
    content = Content(SPEC)
    content.mean.copy_(torch.tensor([6.0, 18.0]))
    content.deviation.fill_(1.5)
    notes = torch.full((3, SPEC.n_mels, 24), SPEC.silence)
    notes[0, 6], notes[1, 7], notes[2, 20] = 0.0, -1.0, 0.0
    carried = content.carry(notes, content.evidence(notes))
    assert carried.argmax(dim=1)[:, 0].tolist() == [18, 19, 20]
    assert carried.amax(dim=1)[:, 0].tolist() == pytest.approx([0, -1, 0], abs=0.1)
    silence = torch.full((1, SPEC.n_mels, 24), SPEC.silence)
    assert torch.allclose(content.carry(silence, content.evidence(silence)), silence, atol=1e-5)


def test_one_high_note_of_a_melody_is_carried_with_the_others() -> None:
    content = Content(SPEC)
    content.mean.copy_(torch.tensor([6.0, 18.0]))
    content.deviation.fill_(3.0)
    pieces = torch.full((12, 1, SPEC.n_mels, 24), SPEC.silence)
    bands = [
        6,
        16,
        7,
        5,
        *[18] * 8,
    ]  # the second note alone could be the target's; in the end it is the target that plays
    for piece, band in zip(pieces, bands, strict=True):
        piece[0, band] = 0.0
    assert float(content.evidence(pieces[1])) < -5.0
    heard = Listener(content)(pieces)[:, 0]
    assert float(heard[:4].min()) > 2.0
    assert float(heard[-1]) < -15.0
    by_turns = Listener(content)
    assert torch.equal(torch.cat([by_turns(some) for some in pieces.split(5)])[:, 0], heard)


def test_silence_says_nothing_of_heights() -> None:
    sound, silence = batch((SOURCE, TARGET)).features, torch.full((2, SPEC.n_mels, 64), SPEC.silence)
    alone, beside = Content(SPEC), Content(SPEC)
    alone.fit([sound, sound])
    beside.fit([torch.cat([sound, silence]), torch.cat([silence, sound])])
    assert torch.equal(alone.mean, beside.mean)
    assert torch.equal(alone.deviation, beside.deviation)
    loudness, _ = courses(silence, SPEC)
    assert bool(loudness.isfinite().all())
