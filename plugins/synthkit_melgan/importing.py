"""MelGAN checkpoints of other projects, as weights of our generator and critic. Imports no torch.

| lineage | names of the generator | what its network hears |
|---|---|---|
| descriptinc/melgan-neurips | `model.4.block.2` | log10 mel |
| seungwonpark/melgan | `generator.4.blocks.0.2` | (ln mel + 5) / 5 |
| kan-bayashi/ParallelWaveGAN | `melgan.4.stack.2` | log10 mel, each band less its mean, by its deviation |

All three are one network under other names; what differs stands before it and is an affine map of each band. The generator pads
by reflection, so such a map is exactly another first convolution, ends included:
`w'[o, m, k] = w[o, m, k] multiply[m]`, `b'[o] = b[o] + sum over m, k of w[o, m, k] add[m]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.errors import CheckpointError, ConfigError
from synthkit.foreign import Foreign, Imported, Importer, Published
from synthkit_melgan.config import CriticConfig, MelGANConfig, MelGANObjectiveConfig
from synthkit_melgan.hearing import Hearing, of_hparams, of_parallel_wavegan, official
from synthkit_melgan.weights import DIRECTION, affine_input, normalised

if TYPE_CHECKING:
    from torch import Tensor

Weights = dict[str, "Tensor"]


@dataclass(frozen=True, kw_only=True)
class _Lineage:
    name: str
    root: str
    """First word of the names of the generator's weights."""
    generator: str
    """Pattern at the start of what only its generator has; group 1 is what the file has put before all its names."""
    hearing: Callable[[Foreign, Weights, int], Hearing]
    """The features of a generator for so many bands, and the map between them and its first convolution."""
    renamed: Callable[[str], str]
    """Our name of one of the generator's weights."""
    objective: MelGANObjectiveConfig
    """The game that it was trained in."""


def _renamed_seungwonpark(name: str) -> str:
    """Its stage has three slots (activation, upsampling, stack of three blocks), ours five.

    >>> [_renamed_seungwonpark(f"generator.{it}") for it in ("1.bias", "6.bias", "7.blocks.2.4.bias", "7.shortcuts.0.bias", "16.bias")]
    ['model.1.bias', 'model.8.bias', 'model.11.block.4.bias', 'model.9.shortcut.bias', 'model.24.bias']
    """
    found = re.fullmatch(r"generator\.(\d+)(?:\.(block|shortcut)s\.(\d+))?\.(.*)", name)
    if found is None:
        return name
    stage, place = divmod(int(found[1]) - 2, 3)
    slot = 5 * stage + 2 + place if stage >= 0 else int(found[1])
    return f"model.{slot + int(found[3])}.{found[2]}.{found[4]}" if found[2] else f"model.{slot}.{found[4]}"


def _renamed_parallel_wavegan(name: str) -> str:
    """The same slots.

    >>> _renamed_parallel_wavegan("melgan.4.skip_layer.bias"), _renamed_parallel_wavegan("melgan.4.stack.2.bias")
    ('model.4.shortcut.bias', 'model.4.block.2.bias')
    """
    return name.replace("melgan.", "model.", 1).replace(".stack.", ".block.").replace(".skip_layer.", ".shortcut.")


_LINEAGES = (
    _Lineage(
        name="the official MelGAN (descriptinc/melgan-neurips)",
        root="model",
        generator=r"(.*?)model\.\d+\.block\.2\.",
        hearing=official,
        renamed=lambda name: name,
        objective=MelGANObjectiveConfig(),
    ),
    _Lineage(
        name="seungwonpark/melgan",
        root="generator",
        generator=r"(.*?)generator\.\d+\.blocks\.0\.2\.",
        hearing=of_hparams,
        renamed=_renamed_seungwonpark,
        objective=MelGANObjectiveConfig(adversarial="least-squares"),
    ),
    _Lineage(
        name="MelGAN of kan-bayashi/ParallelWaveGAN",
        root="melgan",
        generator=r"(.*?)melgan\.\d+\.stack\.2\.",
        hearing=of_parallel_wavegan,
        renamed=_renamed_parallel_wavegan,
        objective=MelGANObjectiveConfig(adversarial="least-squares"),
    ),
)

_OTHERS = {
    r"(.*?)generator\.\d+\.layers\.\d+\.1\.": "an early seungwonpark/melgan, which pads with zeros and has no learned shortcuts",
    r"(.*?)melgan\.\d+\.stack\.1\.conv\.": "ParallelWaveGAN's MelGAN with causal convolutions",
    r"(.*?)upsample_net\.": "Parallel WaveGAN's own network",
    r"(.*?)(conv_pre|ups\.0|input_conv)\.": "a HiFi-GAN",
}
"""Networks that it may be taken for, by what only they have."""

_CRITICS = (r"(.*?)model\.disc_\d+\.model\.layer_\d+\.", r"(.*?)discriminators\.\d+\.(?:layers|discriminator)\.\d+\.")


def read(foreign: Foreign) -> Imported:
    """Recognise a MelGAN and express it in ours.

    Raises:
        CheckpointError: where it is no MelGAN of these projects, or one that our network cannot express exactly.
    """
    lineage, prefix = _recognised(foreign)
    theirs = _below(foreign.weights, prefix)
    weights = normalised({lineage.renamed(it): theirs[it] for it in theirs if it.startswith(f"{lineage.root}.")})
    config, bands = _generator_config(foreign, weights)
    hearing = lineage.hearing(foreign, theirs, bands)
    try:
        if hearing.affine:
            weights = affine_input(weights, "model.1", *hearing.affine)
        config.check_spec(hearing.spec)
    except ConfigError as error:
        raise CheckpointError(f"{str(foreign.file)!r} is {lineage.name}, but cannot be taken: {error}") from error
    critic, remarks = _critic(foreign)
    layers = f"{config.channels * 2 ** len(config.ratios)} channels, upsampling {' x '.join(map(str, config.ratios))}"
    return Imported(
        lineage=f"{lineage.name}, {layers}",
        config=config,
        spec=hearing.spec,
        networks={"generator": weights},
        objective=lineage.objective.model_copy(update={"critic": critic.config}) if critic else None,
        critics={"critic": critic.weights} if critic else {},
        step=_step(foreign),
        remarks=(*hearing.remarks, *remarks),
    )


def _recognised(foreign: Foreign) -> tuple[_Lineage, str]:
    """The lineage of a file, and what stands before the names of its generator."""
    for lineage in _LINEAGES:
        for name in foreign.weights:
            found = re.match(lineage.generator, name)
            if found:
                return lineage, found[1]
    others = [what for pattern, what in _OTHERS.items() if any(re.match(pattern, name) for name in foreign.weights)]
    if others:
        raise CheckpointError(f"{str(foreign.file)!r} is {others[0]}: this MelGAN cannot express it exactly")
    known = "; ".join(lineage.name for lineage in _LINEAGES)
    names = ", ".join(list(foreign.weights)[:3])
    holds = f"{len(foreign.weights)} tensors ({names}{', ...' if len(foreign.weights) > 3 else ''})"
    raise CheckpointError(
        f"{str(foreign.file)!r} is not the generator of a MelGAN that is known ({known}): it holds {holds}"
    )


def _below(weights: Mapping[str, Tensor], prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _generator_config(foreign: Foreign, weights: Weights) -> tuple[MelGANConfig, int]:
    """The settings that the shapes tell (a stage's upsampling is half its kernel, its blocks are counted), and the number of bands."""
    layers = {
        int(found[1]) for name in weights if (found := re.match(r"model\.(\d+)\.(?:bias|parametrizations)", name))
    }
    blocks = {int(found[1]) for name in weights if (found := re.match(r"model\.(\d+)\.block\.", name))}
    kernels = [weights.get(f"model.{layer}.parametrizations.weight.{DIRECTION}") for layer in sorted(layers)]
    whole = [kernel for kernel in kernels if kernel is not None and kernel.ndim == 3]
    if len(whole) < max(3, len(kernels)):
        raise CheckpointError(
            f"{str(foreign.file)!r} is not whole: {len(whole)} of its {len(layers)} convolutions outside residual blocks have a weight "
            "[outputs, inputs, kernel], and a MelGAN has at least 3"
        )
    first, last, ratios = whole[0], whole[-1], [kernel.shape[2] // 2 for kernel in whole[1:-1]]
    if last.shape[0] != 1:
        raise CheckpointError(
            f"{str(foreign.file)!r} makes {last.shape[0]} bands, which a filter bank joins (multi-band MelGAN): this MelGAN makes "
            "the sound itself and cannot express that"
        )
    try:
        config = MelGANConfig(
            channels=first.shape[0] // 2 ** len(ratios),
            ratios=tuple(ratios),
            residual_layers=len(blocks) // len(ratios),
            gate_silence=False,
        )
    except ValueError as error:
        shape = f"{first.shape[0]} channels, {len(blocks)} residual blocks and upsampling by {ratios}"
        raise CheckpointError(f"{str(foreign.file)!r} holds no MelGAN that can be built: {shape}") from error
    return config, first.shape[1]


@dataclass(frozen=True)
class _Critic:
    config: CriticConfig
    weights: Weights


def _critic(foreign: Foreign) -> tuple[_Critic | None, tuple[str, ...]]:
    """The critic in the file, or in the file beside it where the official script saves it; and what to say of it."""
    name = foreign.file.name
    for source in (foreign, foreign.beside(name.replace("netG", "netD")) if "netG" in name else None):
        theirs = _critic_weights(source) if source else {}
        if source is None or not theirs:
            continue
        weights = normalised({_renamed_critic(it): value for it, value in theirs.items()})
        try:
            critic = _Critic(_critic_config(weights), weights)
        except (ValueError, IndexError) as error:
            return None, (
                f"the critic in {source.file.name} is left out: its layers are not those of MelGAN's ({error})",
            )
        return critic, () if source is foreign else (f"the critic is that of {source.file.name}, beside it",)
    return None, ("no critic of MelGAN comes with it: a training that goes on from here begins with a fresh one",)


def _critic_weights(source: Foreign) -> Weights:
    for pattern in _CRITICS:
        prefixes = [found[1] for name in source.weights if (found := re.match(pattern, name))]
        if prefixes:
            return {it: value for it, value in _below(source.weights, prefixes[0]).items() if re.match(pattern, it)}
    return {}


def _renamed_critic(name: str) -> str:
    """
    >>> _renamed_critic("discriminators.2.layers.1.0.bias"), _renamed_critic("discriminators.0.discriminator.6.bias")
    ('model.disc_2.model.layer_1.0.bias', 'model.disc_0.model.layer_6.bias')
    """
    return re.sub(r"^discriminators\.(\d+)\.(?:layers|discriminator)\.(\d+)\.", r"model.disc_\1.model.layer_\2.", name)


def _critic_config(weights: Weights) -> CriticConfig:
    """The settings that the shapes tell; what fits them no further is found when the weights are compared."""
    layers = {
        (int(found[1]), int(found[2])): value
        for name, value in weights.items()
        if name.endswith("original1") and (found := re.match(r"model\.disc_(\d+)\.model\.layer_(\d+)\.", name))
    }
    count = 1 + max(layer for _, layer in layers)
    widths = [value.shape[0] for (scale, _), value in sorted(layers.items(), key=lambda it: it[0]) if scale == 0]
    second = layers.get((0, 1))
    return CriticConfig(
        scales=1 + max(scale for scale, _ in layers),
        channels=widths[0],
        layers=count - 3,
        factor=4 if second is None else (second.shape[2] - 1) // 10,
        max_channels=max(widths),
    )


def _step(foreign: Foreign) -> int:
    found = next((foreign.notes[name] for name in ("steps", "step") if name in foreign.notes), 0)
    return found if isinstance(found, int) and found >= 0 else 0


_OFFICIAL = (
    "https://raw.githubusercontent.com/descriptinc/melgan-neurips/6488045bfba1975602288de07a58570c7b4d66ea/models"
)
_RELEASES = "https://github.com/seungwonpark/melgan/releases/download"

IMPORTER = Importer(
    read=read,
    published=(
        Published(
            name="melgan-multi-speaker",
            url=f"{_OFFICIAL}/multi_speaker.pt",
            summary="Official MelGAN, six speakers, 22,050 Hz.",
            git_blob="c6dc2e2ab5be6478352deb465c5b584e1d4ba25a",
        ),
        Published(
            name="melgan-linda-johnson",
            url=f"{_OFFICIAL}/linda_johnson.pt",
            summary="Official MelGAN, one speaker (LJ Speech), 22,050 Hz.",
            git_blob="97f59e01479b4c346d00ef6351aba2949437895e",
        ),
        Published(
            name="melgan-seungwonpark",
            url=f"{_RELEASES}/v0.1-alpha/nvidia_tacotron2_LJ11_epoch3200.pt",
            summary="seungwonpark/melgan, LJ Speech, for features of NVIDIA's Tacotron 2; its hash is not published.",
        ),
    ),
)
"""What `synthkit import --as melgan` and `synthkit pull` know of MelGAN."""
