"""`import`, `pull` and `export` as a user meets them: a checkpoint of another project becomes a run, and a run becomes a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

import synthkit
from synthkit._cli.main import cli
from synthkit._stages import portable
from synthkit._stages.pulling import pull
from synthkit.errors import CheckpointError, ConfigError, DownloadError, SynthkitError
from synthkit.foreign import Portable, Published
from synthkit.interfaces import Vocoder
from synthkit.presets import PRESETS
from synthkit_melgan.network import Critic, Generator

if TYPE_CHECKING:
    from tests.conftest import Web

Cli = Callable[..., subprocess.CompletedProcess[str]]
NAMES = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def official(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    for new, old in NAMES.items():
        state = {name.replace(new, old): value for name, value in state.items()}
    return state


def command(folder: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SYNTHKIT_CACHE": str(folder / "cache"), "COLUMNS": "200", "NO_COLOR": "1"}
    call = [sys.executable, "-m", "synthkit", *map(str, args)]
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a small official MelGAN, its export in both forms, and a sound."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("exchange")
    torch.manual_seed(3)
    torch.save(official(Generator(80, 4, (16, 16), 1)), folder / "netG.pt")
    torch.save(official(Critic(2, 4, 2, 4, 16)), folder / "netD.pt")
    done = command(folder, "import", "netG.pt", "--as", "melgan", "-o", "imported", "--licence", "CC0 1.0")
    assert done.returncode == 0, done.stderr
    (folder / "import.txt").write_text(done.stdout)
    done = command(folder, "export", "imported", "--onnx", "vocoder.onnx", "--pt2", "vocoder.pt2")
    assert done.returncode == 0, done.stderr
    (folder / "export.txt").write_text(done.stdout)
    time = np.arange(22050) / 22050
    sound = 0.3 * np.stack([np.sin(2 * np.pi * 220 * time), np.sign(np.sin(2 * np.pi * 330 * time))], axis=1)
    soundfile.write(folder / "in.wav", sound * (time > 0.3)[:, None], 22050, subtype="FLOAT")
    return folder


def features(frames: int, items: int = 2) -> torch.Tensor:
    return torch.rand(items, 80, frames, generator=torch.Generator().manual_seed(frames)) * 5 - 5


def test_import_says_what_it_found(folder: Path) -> None:
    said = (folder / "import.txt").read_text()
    assert "netG.pt is the official MelGAN (descriptinc/melgan-neurips), 16 channels, upsampling 16 x 16" in said
    assert "features: 80 bands, hop 256, 22050 Hz, log log10, framing same" in said
    assert "note: the critic is that of netD.pt, beside it" in said


def test_an_imported_run_is_a_run(folder: Path) -> None:
    assert command(folder, "vocode", "imported", "in.wav", "out.wav").returncode == 0
    made, rate = soundfile.read(folder / "out.wav")
    assert (made.shape, rate) == ((22050, 2), 22050)
    assert np.abs(made).max() > 0.001
    assert command(folder, "runs", "imported").returncode == 0
    recipe = "recipe: 1\nname: tuned\ndata: {use: tones}\nvocoder: {from: imported}\nfeatures: {from: imported}\n"
    train = "train: {part: vocoder, steps: 2, batch: 2, objective: {critic: {scales: 2, channels: 4, layers: 2, max_channels: 16}}}"
    (folder / "tuned.yaml").write_text(f"{recipe}{train}\n")
    done = command(folder, "run", "tuned.yaml", "--set", "data.clips_per_label=3", "--set", "generate.count=1")
    assert done.returncode == 0, done.stderr
    log = (folder / "runs" / "tuned" / "log.txt").read_text()
    assert "generator: 30 match; objective.critic: 30 match" in log


def test_the_report_of_an_export(folder: Path) -> None:
    said = (folder / "export.txt").read_text()
    for file in ("vocoder.onnx", "vocoder.pt2"):
        assert f"{file} beside the run" in said
    rows = [line.split() for line in said.splitlines() if line.split() and line.split()[0] in ("1", "3")]
    assert [row[1] for row in rows[::2]] == ["2", "3", "17", "64", "301"] * 2
    assert all(float(row[3]) < portable.TOLERANCE for row in rows)


@pytest.mark.parametrize("frames", [1, 5, 16, 200])
def test_exports_reproduce_the_run(folder: Path, frames: int) -> None:
    import onnxruntime

    vocoder = synthkit.load(folder / "imported", part="vocoder").component
    program = torch.export.load(folder / "vocoder.pt2").module()
    session = onnxruntime.InferenceSession(folder / "vocoder.onnx")
    for items in (1, 4):
        given = features(frames, items)
        expected = vocoder.vocode(given)
        (made,) = session.run(None, {"features": given.numpy()})
        np.testing.assert_allclose(made, expected.numpy(), rtol=0, atol=1e-5)
        torch.testing.assert_close(program(given), expected, rtol=0, atol=1e-5)


def test_metadata(folder: Path) -> None:
    import onnxruntime

    extra = {"synthkit.json": ""}
    torch.export.load(folder / "vocoder.pt2", extra_files=extra)
    told = onnxruntime.InferenceSession(folder / "vocoder.onnx").get_modelmeta().custom_metadata_map["synthkit"]
    assert json.loads(told) == json.loads(extra["synthkit.json"])
    metadata = json.loads(told)
    assert metadata["spec"] == PRESETS["melgan"].spec.to_dict()
    assert (metadata["licence"], metadata["labels"], metadata["component"]) == ("CC0 1.0", [], "melgan")
    assert metadata["output"] == "samples: float32 [B, 256 * N] in -1..1 at 22050 Hz"


def test_the_example_needs_no_torch_and_makes_the_same_sound(folder: Path, root: Path) -> None:
    command(folder, "vocode", "imported", "in.wav", "ours.wav")
    (folder / "no").mkdir(exist_ok=True)
    for name in ("torch", "synthkit"):
        (folder / "no" / f"{name}.py").write_text("raise ImportError('not here')\n")
    call = [sys.executable, str(root / "examples" / "onnx_vocode.py"), "vocoder.onnx", "in.wav", "theirs.wav"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "no")}
    subprocess.run(call, cwd=folder, env=environment, check=True, capture_output=True, timeout=120)
    ours, theirs = (soundfile.read(folder / name)[0] for name in ("ours.wav", "theirs.wav"))
    assert len(theirs) == len(ours) // 256 * 256
    # Both are 16 bit. What follows the last whole frame differs: synthkit fills the sound up to a whole frame first.
    whole = len(theirs) - 8 * 256
    assert np.abs(ours[:whole] - theirs[:whole]).max() < 3 / 32768
    assert np.abs(ours).max() > 0.001


UNEXPORTABLE = {
    (
        "griffin-lim",
        "--onnx",
        "x.onnx",
    ): r"the vocoder 'griffin-lim' cannot be exported: what it does is not one network",
    ("melgan", "--onnx", "x.onnx"): "the vocoder 'melgan' has to be trained",
    ("imported",): "say what to write: --onnx FILE, --pt2 FILE, or both",
    ("nothing", "--pt2", "x.pt2"): "there is no run folder",
    ("imported", "--pt2", "missing/x.pt2"): "it must be a file in a folder that exists",
}


@pytest.mark.parametrize("args", UNEXPORTABLE, ids=" ".join)
def test_what_cannot_be_exported_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    assert_refused(("export", *args), UNEXPORTABLE[args])
    assert not list(folder.glob("*x.*"))


def assert_refused(args: Sequence[str], says: str) -> None:
    with pytest.raises(SynthkitError) as caught:
        cli.main(list(args), standalone_mode=False)
    assert says in str(caught.value)
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_package_is_named_with_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocoder = synthkit.load(folder / "imported", part="vocoder").component
    monkeypatch.setattr(portable, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ConfigError, match=r"writing ONNX needs onnxscript: run `pip install 'synthkit\[export\]'`"):
        portable.write_portable(vocoder, {"component": "melgan"}, {"onnx": folder / "x.onnx"})


class Wrong(Vocoder):
    """A vocoder whose network is not what it does."""

    spec = PRESETS["melgan"].spec

    def vocode(self, features: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.zeros(features.shape[0], self.spec.samples(features.shape[2]))

    def portable(self) -> torch.nn.Module:
        return Half()


class Half(torch.nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean(1).repeat_interleave(256, 1) * 0 + 0.5


def test_a_file_that_differs_from_the_run_is_not_written(tmp_path: Path) -> None:
    assert isinstance(Wrong(), Portable)
    with pytest.raises(CheckpointError, match=r"was not written: at 2 frames it differs from the run by 5\.0e-01"):
        portable.write_portable(Wrong(), {"component": "wrong"}, {"pt2": tmp_path / "x.pt2"})
    assert list(tmp_path.iterdir()) == []


def test_pull_goes_on_where_it_broke_off(synthkit_cli: Cli, web: Web, tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    web.files["net%20G.pt"] = content
    web.plan += [web.cut(1_500_000), web.status(404)]
    args = ("pull", web.url("net%20G.pt"), "--sha256", sha256(content).hexdigest().upper())
    broken = synthkit_cli(*args)
    assert (broken.returncode, "404" in broken.stderr) == (2, True)
    assert not (tmp_path / "net G.pt").exists()
    done = synthkit_cli(*args)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net G.pt").read_bytes() == content
    assert web.seen[-1][1] == "bytes=1500000-"


def test_pull_takes_nothing_else_than_what_was_meant(
    synthkit_cli: Cli, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["a.pt"] = b"another"
    url = web.url("a.pt")
    monkeypatch.chdir(tmp_path)
    assert_refused(("pull", url), "--sha256 is missing")
    assert_refused(("pull", url, "--sha256", "abc"), "a SHA-256 has 64 hexadecimal digits")
    assert_refused(("pull", "melgan-seungwonpark"), "nobody has published the hash of 'melgan-seungwonpark'")
    assert_refused(("pull", "melgan-multi-speakr"), "did you mean 'melgan-multi-speaker'?")
    done = synthkit_cli("pull", url, "--sha256", "0" * 64)
    assert (done.returncode, "it gave the wrong 7 bytes, which were deleted" in done.stderr) == (2, True)
    assert not list(tmp_path.glob("a.pt*"))


def test_pull_lists_the_names(synthkit_cli: Cli) -> None:
    listed = synthkit_cli("pull").stdout
    assert "melgan-linda-johnson: " in listed
    assert "Needs --sha256." in listed


def test_a_file_is_known_by_its_git_object(web: Web, tmp_path: Path) -> None:
    content = b"weights"
    web.files["w.pt"] = content
    name = sha1(b"blob 7\0" + content).hexdigest()
    known = Published(name="w", url=web.url("w.pt"), summary="", git_blob=name)
    target = tmp_path / "w.pt"
    target.write_bytes(b"old one")
    pull(known, target)
    assert target.read_bytes() == content
    pull(known, target)
    assert len(web.seen) == 1
    other = Published(name="w", url=known.url, summary="", git_blob="0" * 40)
    with pytest.raises(DownloadError, match=f"its git object is {name} instead of 0000"):
        pull(other, target)
    assert target.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]
