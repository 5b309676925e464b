"""Checkpoints of other projects: their networks, built here as they publish them, sound the same as the runs made of their files."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import synthkit
from synthkit._catalog import Catalog
from synthkit._run.folder import read_meta
from synthkit._stages.importing import Written, find_importing, read_foreign, write_run
from synthkit.errors import CheckpointError, RunError, UnknownName
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec
from synthkit_melgan.network import Critic, Generator
from synthkit_melgan.vocoder import MelGAN

BANDS, WIDTH = 10, 32
OLD = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def old(name: str) -> str:
    """A name as PyTorch's former weight norm has it."""
    for new, former in OLD.items():
        name = name.replace(new, former)
    return name


def normed(layer: nn.Module, dim: int = 0) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer, dim=dim)


class Block(nn.Module):
    """A residual block as each project names its parts."""

    def __init__(self, channels: int, dilation: int, body: str, shortcut: str) -> None:
        super().__init__()
        self.names = (body, shortcut)
        layers = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.ReflectionPad1d(dilation),
            normed(nn.Conv1d(channels, channels, 3, dilation=dilation)),
            nn.LeakyReLU(0.2),
            normed(nn.Conv1d(channels, channels, 1)),
        )
        self.add_module(body, layers)
        self.add_module(shortcut, normed(nn.Conv1d(channels, channels, 1)))

    def forward(self, x: Tensor) -> Tensor:
        body, shortcut = (getattr(self, name) for name in self.names)
        return shortcut(x) + body(x)


class Stack(nn.Module):
    """seungwonpark's: three blocks in one module."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        blocks = [Block(channels, 3**i, "body", "shortcut") for i in range(3)]
        self.blocks = nn.ModuleList([block.body for block in blocks])
        self.shortcuts = nn.ModuleList([block.shortcut for block in blocks])

    def forward(self, x: Tensor) -> Tensor:
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            x = shortcut(x) + block(x)
        return x


def sequence(ratios: tuple[int, ...], stacks: Callable[[int], list[nn.Module]], outputs: int = 1) -> nn.Sequential:
    """The generator that all three projects share."""
    layers: list[nn.Module] = [nn.ReflectionPad1d(3), normed(nn.Conv1d(BANDS, WIDTH, 7))]
    width = WIDTH
    for ratio in ratios:
        padding, odd = ratio // 2 + ratio % 2, ratio % 2
        layers += [nn.LeakyReLU(0.2), normed(nn.ConvTranspose1d(width, width // 2, 2 * ratio, ratio, padding, odd))]
        width //= 2
        layers += stacks(width)
    layers += [nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), normed(nn.Conv1d(width, outputs, 7)), nn.Tanh()]
    return nn.Sequential(*layers)


def named(name: str, module: nn.Module) -> nn.Module:
    holder = nn.Module()
    holder.add_module(name, module)
    return holder.requires_grad_(False)


RATIOS = (8, 8, 2, 2)


def official() -> nn.Module:
    return named("model", sequence(RATIOS, lambda width: [Block(width, 3**i, "block", "shortcut") for i in range(3)]))


def seungwonpark() -> nn.Module:
    return named("generator", sequence(RATIOS, lambda width: [Stack(width)]))


def parallel_wavegan(ratios: tuple[int, ...] = (8, 8, 4), stacks: int = 4, outputs: int = 1) -> nn.Module:
    blocks = lambda width: [Block(width, 3**i, "stack", "skip_layer") for i in range(stacks)]  # noqa: E731
    return named("melgan", sequence(ratios, blocks, outputs))


def critic(rename: Callable[[str], str]) -> dict[str, Tensor]:
    return {rename(old(name)): value for name, value in Critic(2, 4, 2, 4, 16).state_dict().items()}


def layers_of(word: str) -> Callable[[str], str]:
    def rename(name: str) -> str:
        return name.replace("model.disc_", "discriminators.").replace("model.layer_", f"{word}.")

    return rename


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(5)


@pytest.fixture
def convert(tmp_path: Path, catalog: Catalog) -> Callable[..., Written]:
    def convert(content: Any, name: str = "checkpoint.pt", **options: Any) -> Written:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            torch.save(content, file, **options)
        return write_run(read_foreign(file), find_importing("melgan", catalog), catalog, tmp_path / "run", "CC0")

    return convert


def vocoder_of(written: Written) -> MelGAN:
    component = synthkit.load(written.run.path, part="vocoder").component
    assert isinstance(component, MelGAN)
    return component


def features(spec: FeatureSpec, frames: int = 24) -> Tensor:
    return torch.rand(2, spec.n_mels, frames) * 4 + spec.silence


@torch.no_grad()
def assert_sounds_like(written: Written, theirs: Callable[[Tensor], Tensor], spec: FeatureSpec) -> None:
    """The imported network on features in physical units, ends included; and the vocoder, away from its ends."""
    vocoder, given = vocoder_of(written), features(spec)
    assert vocoder.spec == spec
    expected = theirs(given)
    made = vocoder.generator(vocoder.hear(given))
    assert float(expected.abs().max()) > 0.01
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-6)
    inner = slice(8 * spec.hop_length, 16 * spec.hop_length)
    shift = spec.hop_length // 2 if spec.framing == "center" else 0
    vocoded = vocoder.vocode(given)[:, inner.start - shift : inner.stop - shift]
    torch.testing.assert_close(vocoded, expected[:, 0, inner], rtol=0, atol=2e-6)


def spec_of(preset: str, **changes: Any) -> FeatureSpec:
    import dataclasses

    return dataclasses.replace(PRESETS[preset].spec, n_mels=BANDS, **changes)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_official(convert: Callable[..., Written], tmp_path: Path, zipped: bool) -> None:
    theirs = official()
    torch.save(critic(lambda name: name), tmp_path / "best_netD.pt")
    written = convert(theirs.state_dict(), "best_netG.pt", _use_new_zipfile_serialization=zipped)
    assert_sounds_like(written, theirs.model, spec_of("melgan"))
    assert "official" in written.imported.lineage
    assert written.remarks == ("the critic is that of best_netD.pt, beside it",)
    meta = read_meta(written.run.newest("vocoder") or Path())
    assert (meta["licence"], meta["step"]) == ("CC0", 0)
    assert set(meta["files"]) == {"generator.safetensors", "objective.critic.safetensors"}
    assert meta["objective"]["config"]["critic"] == {
        "scales": 2, "channels": 4, "layers": 2, "factor": 4, "max_channels": 16
    }  # fmt: skip


def test_seungwonpark(convert: Callable[..., Written]) -> None:
    theirs = seungwonpark()
    settings = "data:\n  train: ''\n---\naudio:\n  sampling_rate: 24000\n  mel_fmin: 0.0\n  mel_fmax: 7000.0\n  hop_length: 256\n"
    content = {
        "model_g": theirs.state_dict(),
        "model_d": critic(layers_of("discriminator")),
        "optim_g": {"state": {}, "param_groups": []},
        "step": 1234,
        "epoch": 3,
        "hp_str": settings,
        "githash": "abc",
    }
    written = convert(content)
    spec = spec_of("tacotron", sample_rate=24000, f_max=7000.0)
    assert_sounds_like(written, lambda mel: theirs.generator((mel + 5) / 5), spec)
    assert written.run.newest("vocoder") == written.run.checkpoint_root("vocoder") / "step-0001234"
    assert written.remarks == ()
    assert written.imported.objective is not None
    assert written.imported.objective.model_dump()["adversarial"] == "least-squares"


@pytest.mark.parametrize("where", ["buffers", "stats.npy", "stats.h5"])
@pytest.mark.parametrize("base", [10.0, None])
def test_parallel_wavegan(
    convert: Callable[..., Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, base: float | None
) -> None:
    theirs = parallel_wavegan()
    mean, scale = torch.rand(BANDS) - 3, torch.rand(BANDS) + 0.5
    state = dict(theirs.state_dict())
    if where == "buffers":
        state |= {"mean": mean, "scale": scale}
    elif where == "stats.npy":
        np.save(tmp_path / where, torch.stack([mean, scale]).numpy())
    else:
        (tmp_path / where).touch()
        monkeypatch.setitem(sys.modules, "h5py", FakeHdf5({"mean": mean.numpy(), "scale": scale.numpy()[None]}))
    log_base = "null" if base is None else base
    (tmp_path / "config.yml").write_text(
        "sampling_rate: 16000\nfft_size: 1024\nhop_size: 256\nwin_length: null\nfmin: null\nfmax: null\n"
        f"log_base: {log_base}\ngenerator_params:\n  stacks: 4\n  use_causal_conv: False\n"
    )
    content = {
        "model": {"generator": state, "discriminator": critic(layers_of("layers"))},
        "optimizer": {"generator": {"state": {0: {"exp_avg": torch.zeros(3), "step": 4}}}},
        "steps": 400_000,
        "epochs": 7,
    }
    written = convert(content, "checkpoint-400000steps.pkl")
    spec = spec_of(
        "parallel-wavegan", sample_rate=16000, f_min=0.0, f_max=8000.0, log="log10" if base else "ln", framing="center"
    )
    assert_sounds_like(written, lambda mel: theirs.melgan((mel - mean[:, None]) / scale[:, None]), spec)
    assert (written.remarks, written.imported.step) == ((), 400_000)
    assert written.imported.critics


class FakeHdf5:
    """As much of h5py as the importer uses."""

    def __init__(self, stored: Mapping[str, np.ndarray]) -> None:
        self.stored = stored

    def File(self, file: Path, mode: str) -> FakeHdf5:
        return self

    def __enter__(self) -> dict[str, dict[tuple[()], np.ndarray]]:
        return {name: {(): value} for name, value in self.stored.items()}

    def __exit__(self, *_: object) -> None:
        pass


def test_statistics_in_hdf5_need_a_package(
    convert: Callable[..., Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stats.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CheckpointError, match=r"needs `pip install h5py`; or save its mean and scale .*stats\.npy"):
        convert({"model": {"generator": parallel_wavegan().state_dict()}})


def as_new_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    forward = {former: new for new, former in OLD.items()}
    return {
        f"{name.rpartition('.')[0]}.{forward.get(name.rpartition('.')[2], name.rpartition('.')[2])}": state[name]
        for name in state
    }


def as_folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    folded = {name: value for name, value in state.items() if name.endswith("bias")}
    for name, v in state.items():
        if name.endswith("weight_v"):
            norm = v.flatten(1).norm(dim=1).view(-1, 1, 1)
            folded[name.replace("weight_v", "weight")] = state[name.replace("weight_v", "weight_g")] * v / norm
    return folded


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "as it is": lambda state: state,
    "new names of weight norm": as_new_names,
    "folded": as_folded,
    "of several GPUs": lambda state: {f"module.{name}": value for name, value in state.items()},
    "in state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "in model_g, of several GPUs": lambda state: {"model_g": {f"module.{name}": it for name, it in state.items()}},
    "in half precision": lambda state: {name: value.half() for name, value in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings(convert: Callable[..., Written], wrapping: str) -> None:
    theirs = official()
    if wrapping == "in half precision":
        theirs = theirs.half().float()
    written = convert(WRAPPINGS[wrapping](dict(theirs.state_dict())))
    assert_sounds_like(written, theirs.model, spec_of("melgan"))


def test_a_channel_without_any_weight(convert: Callable[..., Written]) -> None:
    theirs = official()
    theirs.model[3].weight_g[2] = 0
    assert_sounds_like(convert(as_folded(theirs.state_dict())), theirs.model, spec_of("melgan"))


def test_weight_norm_over_another_axis(convert: Callable[..., Written]) -> None:
    theirs = official()
    for slot in (3, 8, 13, 18):
        layer = theirs.model[slot]
        nn.utils.remove_weight_norm(layer)
        theirs.model[slot] = normed(layer, dim=1).requires_grad_(False)
    assert theirs.state_dict()["model.3.weight_g"].shape == (1, WIDTH // 2, 1)
    assert_sounds_like(convert(theirs.state_dict()), theirs.model, spec_of("melgan"))


def test_safetensors(tmp_path: Path, catalog: Catalog) -> None:
    theirs = official()
    save_file(dict(theirs.state_dict()), tmp_path / "model.bin")  # known by what it holds, not by its name
    written = write_run(
        read_foreign(tmp_path / "model.bin"), find_importing("melgan", catalog), catalog, tmp_path / "run", ""
    )
    assert_sounds_like(written, theirs.model, spec_of("melgan"))


def test_weights_that_are_there_keep_their_magnitude_and_direction(convert: Callable[..., Written]) -> None:
    theirs = official()
    theirs.model[3].weight_v *= 7
    state = vocoder_of(convert(theirs.state_dict())).generator.state_dict()
    assert {old(name): value for name, value in state.items()}.keys() == theirs.state_dict().keys()
    for name, value in state.items():
        assert torch.equal(value, theirs.state_dict()[old(name)]), name


@pytest.mark.data
def test_reference_waveform(shared: Path, tmp_path: Path, catalog: Catalog) -> None:
    """Formula weights under official names give what the official code gave."""
    from safetensors.torch import load_file

    reference = load_file(shared / "reference" / "melgan_official.safetensors")
    state = Generator().state_dict()
    weights = {}
    for place, name in enumerate(sorted(state, key=old), 1):
        k = np.arange(state[name].numel(), dtype=np.float64)
        v = np.sin(0.7310 * place + 1.6180339887 * k + 0.001 * k**2)
        v = 1 + 0.25 * v if name.endswith("original0") else 0.05 * v if name.endswith("bias") else v
        weights[old(name)] = torch.from_numpy(v.astype(np.float32).reshape(state[name].shape))
    torch.save(weights, tmp_path / "netG.pt")
    written = write_run(
        read_foreign(tmp_path / "netG.pt"), find_importing("melgan", catalog), catalog, tmp_path / "run", ""
    )
    vocoder, mel = vocoder_of(written), reference["mel"][..., :32]
    assert vocoder.spec == PRESETS["melgan"].spec
    with torch.no_grad():
        made = vocoder.generator(vocoder.hear(mel))
    scale = float(reference["generated"].abs().max())
    assert float((made - reference["generated"]).abs().max()) < 1e-5 * scale
    inner = slice(7 * 256, 25 * 256)
    assert float((vocoder.vocode(mel)[:, inner] - reference["generated"][:, 0, inner]).abs().max()) < 1e-5 * scale


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state = {**official().state_dict(), **{name.replace("__", "."): it for name, it in changes.items()}}
    return {name: value for name, value in state.items() if value is not None}


def early_seungwonpark() -> dict[str, Tensor]:
    return {"generator.0.weight_g": torch.ones(1), "generator.3.layers.0.1.weight_g": torch.ones(1)}


def renamed() -> dict[str, Tensor]:
    return {name.replace("block", "blok"): value for name, value in official().state_dict().items()}


def multi_band() -> dict[str, Any]:
    return {"model": {"generator": parallel_wavegan(outputs=4).state_dict()}}


REFUSED: dict[str, tuple[Any, str]] = {
    "missing": (
        changed(model__8__bias=None, model__24__bias=None),
        r"do not fit:\n  generator: model\.8\.bias is missing\n  generator: model\.24\.bias is missing$",
    ),
    "shape": (changed(model__8__bias=torch.zeros(9)), r"generator: model\.8\.bias: \[9\] there, \[8\] here"),
    "not finite": (changed(model__8__bias=torch.full((8,), torch.nan)), r"generator: model\.8\.bias is not finite$"),
    "layer": (
        changed(model__8__weight_v=None, model__8__weight_g=None),
        r"is not whole: 5 of its 6 convolutions outside residual blocks have a weight",
    ),
    "first": (
        changed(model__1__weight_v=None, model__1__weight_g=None),
        r"is not whole: 5 of its 6 convolutions outside residual blocks have a weight",
    ),
    "renamed": (
        renamed(),
        r"is not the generator of a MelGAN that is known \(the official .* it holds 126 tensors \(model\.1\.bias, ",
    ),
    "multi-band": (multi_band(), r"makes 4 bands, which a filter bank joins"),
    "no statistics": (parallel_wavegan().state_dict(), r"put the stats\.h5 or stats\.npy of that training beside it"),
    "causal": ({"melgan.4.stack.1.conv.bias": torch.ones(2)}, r"causal convolutions: this MelGAN cannot express it"),
    "early": ({"model_g": early_seungwonpark()}, r"early seungwonpark/melgan, which pads with zeros"),
    "hifi-gan": ({"generator": {"conv_pre.bias": torch.ones(2)}}, r"is a HiFi-GAN"),
    "empty": ({}, r"it holds 0 tensors \(\)"),
    "no bytes": (b"", r"is damaged, or no checkpoint of PyTorch"),
    "no checkpoint": (b"RIFF....WAVEfmt ", r"is damaged, or no checkpoint of PyTorch"),
    "truncated safetensors": (struct.pack("<Q", 99) + b"{", r"is damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_said_and_nothing_is_written(
    convert: Callable[..., Written], tmp_path: Path, case: str
) -> None:
    content, says = REFUSED[case]
    with pytest.raises(CheckpointError, match=says) as caught:
        convert(content)
    assert "checkpoint.pt" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_long_lists_are_cut(convert: Callable[..., Written]) -> None:
    state = {name: it for name, it in official().state_dict().items() if not name.endswith("bias")}
    with pytest.raises(CheckpointError) as caught:
        convert(state)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (22, "  and 22 more")


def test_settings_that_the_network_does_not_have(convert: Callable[..., Written], tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(
        "generator_params:\n  pad: ZeroPad1d\n  use_final_nonlinear_activation: false\n"
    )
    with pytest.raises(CheckpointError, match=r"config\.yml has pad: ZeroPad1d; use_final_nonlinear_activation: False"):
        convert(parallel_wavegan().state_dict())


def test_a_critic_that_does_not_fit_is_left_out(convert: Callable[..., Written]) -> None:
    torn = critic(layers_of("discriminator"))
    del torn["discriminators.1.discriminator.0.1.bias"]
    written = convert({"model_g": seungwonpark().state_dict(), "model_d": torn})
    assert any("left out" in remark and "layer_0.1.bias" in remark for remark in written.remarks)
    assert set(read_meta(written.run.newest("vocoder") or Path())["files"]) == {"generator.safetensors"}


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_code_in_a_pickle_is_not_run(convert: Callable[..., Written], tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "was-here"
    content = {**official().state_dict(), "extra": Malicious(target)}
    with pytest.raises(CheckpointError, match=r"is not loaded, and nothing in it was run: it asks for '[\w.]+'"):
        convert(content, _use_new_zipfile_serialization=zipped)
    assert not target.exists()
    with pytest.raises(CheckpointError, match=r"nothing in it was run|no checkpoint of PyTorch"):
        convert(pickle.dumps(Malicious(target)))
    assert not target.exists()


def test_files_of_the_first_pytorch(convert: Callable[..., Written]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(CheckpointError, match=r"save it anew|no checkpoint of PyTorch"):
        convert(buffer.getvalue())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_damaged_files_are_said_to_be_damaged(tmp_path: Path, zipped: bool) -> None:
    """Cut anywhere, or with any byte changed: a sentence, or the tensors that are left, but never another error."""
    buffer = io.BytesIO()
    torch.save({"model_g": {"a": torch.arange(6.0)}, "step": 3}, buffer, _use_new_zipfile_serialization=zipped)
    whole, file, refused = buffer.getvalue(), tmp_path / "damaged.pt", 0
    draw = np.random.default_rng(3)
    for trial in range(120):
        damaged = bytearray(whole[: int(draw.integers(len(whole)))] if trial % 2 else whole)
        for place in draw.integers(max(1, len(damaged)), size=3) if trial % 2 == 0 else ():
            damaged[place] = int(draw.integers(256))
        file.write_bytes(damaged)
        try:
            read_foreign(file)
        except CheckpointError:
            refused += 1
    assert refused > 40


def test_names_and_places(convert: Callable[..., Written], tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(UnknownName, match=r"no component 'melgna' that takes checkpoints .* did you mean 'melgan'"):
        find_importing("melgna", catalog)
    with pytest.raises(CheckpointError, match="there is no file"):
        read_foreign(tmp_path / "no.pt")
    convert(official().state_dict())
    with pytest.raises(RunError, match="is there already"):
        convert(official().state_dict())


def test_the_importer_needs_no_torch() -> None:
    code = "import sys, synthkit_melgan.importing; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
