"""`synthkit data export`: files that mean what their spec.json says, none of a clip that is not as it was, none twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

import synthkit
from synthkit._catalog import Catalog
from synthkit._data.export import Scale, read_png, safe_name, safe_names
from synthkit._data.pool import Source, work_here
from synthkit._stages import export as stage
from synthkit._stages.export import Exported, Plan, export, make_plan, value_range
from synthkit.audio import Audio
from synthkit.config import FeaturesConfig
from synthkit.errors import ConfigError, SynthkitError
from synthkit.interfaces import SPLITS, Split
from synthkit.presets import PRESETS

RATE = 22050
Cli = Callable[..., CompletedProcess[str]]

PLUGIN = '''
"""Tones with labels that no file system likes, some of which misbehave."""
import os
from pathlib import Path
import numpy as np
from synthkit.audio import Audio
from synthkit.config import Config
from synthkit.errors import UnreadableClip
from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Clip, Dataset, Offer

LABELS = ("Old-Time / Historic", "Old-Time : Historic", "con")

class OddConfig(Config):
    count: int = 6
    bad: dict[int, str] = {}
    marks: str = ""

class Odd(Dataset):
    def __init__(self, config):
        self.config = config
    def labels(self):
        return LABELS
    def clips(self, split=None):
        numbers = range(self.config.count)
        return [Clip(id=f"{n}.wav", key=f"odd {n}", label=LABELS[n % 3], licence="CC0") for n in numbers
                if split in (None, "test" if n == 5 else "train")]
    def open(self, clip):
        number = int(clip.id.split(".")[0])
        if self.config.marks:
            Path(self.config.marks, str(number)).touch()
        bad = self.config.bad.get(number)
        if bad == "crash":
            os.abort()
        if bad == "bug":
            raise ZeroDivisionError("a mistake in the plugin")
        if bad == "unreadable":
            raise UnreadableClip(clip.id, "unreadable", "it is told to be")
        seconds = 0.2 if bad == "short" else 1.0
        return Audio(0.5 * np.sin(np.arange(int(22050 * seconds)) * (0.05 + 0.02 * number)), 22050)

@hookimpl
def synthkit_components():
    return [Offer(kind="dataset", name="odd", build=f"{__name__}:Odd", config=f"{__name__}:OddConfig", summary="Odd.")]
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plugin") / "odd_plugin.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def catalog(plugin: Path) -> Catalog:
    return Catalog.discover([plugin])


@pytest.fixture
def run(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Exported, Plan]]:
    """Exports the data set `odd` in this process; settings of the data set by name, the rest is for `make_plan`."""
    monkeypatch.setattr(stage, "work_on", work_here)

    def call(
        folder: str = "out",
        *,
        splits: tuple[Split, ...] = SPLITS,
        plan: dict[str, object] | None = None,
        **settings: object,
    ) -> tuple[Exported, Plan]:
        offered, config = catalog.configure("dataset", "odd", settings)
        features, made = catalog.configure("features", "log-mel", {})
        assert isinstance(made, FeaturesConfig)
        planned = make_plan(catalog, features, made, tmp_path / folder, **{"format": "png", **(plan or {})})  # type: ignore[arg-type]
        source = Source(catalog=catalog, offered=offered, config=config)
        return export(source, planned, splits=splits), planned

    return call


def expected(number: int) -> np.ndarray:
    audio = Audio(0.5 * np.sin(np.arange(RATE) * (0.05 + 0.02 * number)), RATE)
    return np.asarray(synthkit.features("log-mel").extract(audio).values[0])


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".png", ".npz"))


def read(folder: Path, name: str = "export.json") -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def test_the_command_line_makes_label_folders_and_says_what_was_left_out(
    synthkit_cli: Cli, plugin: Path, tmp_path: Path
) -> None:
    arguments = ["--plugin", plugin, "data", "export", "odd", "-o", "out", "--features", "griffin-lim"]
    bad = ["--set", 'bad={1: "crash", 3: "unreadable"}', "--workers", "2"]
    done = synthkit_cli(*arguments, *bad)
    assert done.returncode == 0, done.stderr
    assert "4 files of 4 clips (4 new)" in done.stdout
    assert "2 left out" in done.stdout
    colon, slash = (
        safe_names(["Old-Time / Historic", "Old-Time : Historic"])[name]
        for name in ("Old-Time : Historic", "Old-Time / Historic")
    )
    assert slash == "Old-Time - Historic"
    assert files(tmp_path / "out") == sorted(
        [f"train/{slash}/0.png", "train/_con/2.png", f"train/{colon}/4.png", "test/_con/5.png"]
    )
    left_out = {row["clip"] if "clip" in row else row["id"]: row["code"] for row in read(tmp_path / "out")["left_out"]}  # type: ignore[attr-defined]
    assert left_out == {"1.wav": "crashed", "3.wav": "unreadable"}
    spec = read(tmp_path / "out", "spec.json")["features"]
    recipe_spec = synthkit.features("log-mel", preset="melgan").spec.to_dict()
    assert spec["spec"] == recipe_spec  # type: ignore[index]

    wrong = synthkit_cli("data", "export", "tones", "-o", "other", "--features", "lgo-mel")
    assert (wrong.returncode, "did you mean 'log-mel'?" in wrong.stderr) == (2, True), wrong.stderr
    assert not (tmp_path / "other").exists()


class TestPictures:
    @pytest.mark.parametrize("bits", [8, 16])
    def test_can_be_read_back(self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path, bits: int) -> None:
        done, plan = run(plan={"bits": bits})
        assert (done.clips, done.files, done.beyond) == (6, 6, 0)
        assert plan.scale is not None
        values = read_png(tmp_path / "out/train/_con/2.png").values
        half_a_grey = (plan.scale.high - plan.scale.low) / (2**bits - 1) / 2
        assert half_a_grey < (plan.scale.high - plan.scale.low) / 255
        assert np.abs(values - expected(2)).max() <= half_a_grey + 1e-6

    def test_mean_what_spec_json_says_without_synthkit(
        self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path
    ) -> None:
        run(count=1)
        said = read(tmp_path / "out", "spec.json")["png"]
        assert said["value"] == "low + pixel / 255 * (high - low)"  # type: ignore[index]
        with Image.open(tmp_path / "out/train/Old-Time - Historic/0.png") as picture:
            assert picture.mode == "L"
            pixel = np.asarray(picture)
        low, high = said["low"], said["high"]  # type: ignore[index]
        values = (low + pixel / 255 * (high - low))[::-1]
        assert np.abs(values - expected(0)).max() <= (high - low) / 255
        loudest = pixel.mean(axis=1).argmax()
        assert loudest > 0.85 * len(pixel)  # a low tone is near the bottom

    def test_carry_their_clip_and_licence(self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path) -> None:
        run(count=1)
        with Image.open(tmp_path / "out/train/Old-Time - Historic/0.png") as picture:
            said = json.loads(picture.info["synthkit"])
        assert (said["clip"], said["label"], said["licence"]) == ("0.wav", "Old-Time / Historic", "CC0")

    def test_values_beyond_the_range_are_counted(
        self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path
    ) -> None:
        done, _ = run(count=1, plan={"limits": (-3.0, 0.0)})
        assert done.beyond == int(((expected(0) < -3) | (expected(0) > 0)).sum()) > 0
        assert read_png(tmp_path / "out/train/Old-Time - Historic/0.png").values.min() == -3.0
        with pytest.raises(ConfigError, match="must be below"):
            run("other", plan={"limits": (1.0, 1.0)})

    @pytest.mark.parametrize("preset", PRESETS)
    def test_no_sound_in_full_scale_is_beyond_the_default_range(self, preset: str) -> None:
        mel = synthkit.features("log-mel", preset=preset)
        low, high = value_range(mel.spec)
        scale = Scale(low=low, high=high, bits=8)
        time = np.arange(mel.spec.sample_rate // 2)
        tone = np.sin(2 * np.pi * 440 / mel.spec.sample_rate * time)
        noise = np.random.default_rng(0).choice([-1.0, 1.0], len(time))
        for samples in (tone, np.sign(tone), noise, np.ones(len(time)), np.zeros(len(time)), (time % 2) * 2.0 - 1):
            values = mel.extract(Audio(samples, mel.spec.sample_rate)).values[0].numpy()
            assert scale.beyond(values) == 0, preset

    def test_any_other_picture_is_refused(self, tmp_path: Path) -> None:
        Image.new("L", (2, 2)).save(tmp_path / "x.png")
        for name in ("x.png", "nothing.png"):
            with pytest.raises(SynthkitError, match="is not a picture that synthkit exported"):
                read_png(tmp_path / name)


def test_arrays_are_the_features(run: Callable[..., tuple[Exported, Plan]], tmp_path: Path) -> None:
    run(count=3, plan={"format": "npz"})
    with np.load(tmp_path / "out/train/_con/2.npz") as arrays:
        assert arrays["features"].dtype == np.float32
        assert np.array_equal(arrays["features"], expected(2))
        assert (str(arrays["clip"]), str(arrays["label"]), str(arrays["licence"])) == ("2.wav", "con", "CC0")


def test_windows_are_of_one_length_and_a_clip_without_one_is_named(
    run: Callable[..., tuple[Exported, Plan]], tmp_path: Path
) -> None:
    done, plan = run(count=3, bad={1: "short"}, plan={"format": "npz", "seconds": 0.3})
    frames = round(0.3 * RATE / 256)
    assert plan.window == frames
    assert (done.clips, done.files, done.left_out) == (2, 6, 1)
    assert files(tmp_path / "out")[:3] == [f"train/Old-Time - Historic/0-000{number}.npz" for number in range(3)]
    start = frames * 256
    second = Audio(0.5 * np.sin(np.arange(start, 2 * start) * 0.05), RATE)
    with np.load(tmp_path / "out/train/Old-Time - Historic/0-0001.npz") as arrays:
        assert np.array_equal(arrays["features"], np.asarray(synthkit.features("log-mel").extract(second).values[0]))
    assert [(row["id"], row["code"]) for row in read(tmp_path / "out")["left_out"]] == [("1.wav", "too-short")]  # type: ignore[attr-defined]


class TestAgain:
    def test_nothing_is_made_twice(self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path) -> None:
        assert run()[0].new == 6
        whole = {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")}
        index = read(tmp_path / "out")
        (tmp_path / "marks").mkdir()
        assert run(marks=str(tmp_path / "marks"))[0].new == 0
        (tmp_path / "out/train/_con/2.png").unlink()
        assert run(marks=str(tmp_path / "marks"))[0].new == 1
        assert [file.name for file in (tmp_path / "marks").iterdir()] == ["2"]
        assert {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")} == whole
        assert read(tmp_path / "out") == index

    def test_one_that_was_stopped_goes_on(self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError):
            run(bad={3: "bug"})
        assert not (tmp_path / "out/export.json").exists()
        with (tmp_path / "out/.export.jsonl").open("a", encoding="utf-8") as journal:
            journal.write('\n{"clip": "3.w')  # as a kill leaves it
        assert run()[0].new == 3
        assert len(read(tmp_path / "out")["clips"]) == 6  # type: ignore[arg-type]
        assert not (tmp_path / "out/.export.jsonl").exists()

    def test_files_of_clips_that_are_gone_go_too_but_not_those_of_another_split(
        self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path
    ) -> None:
        run(plan={"seconds": 0.3})
        assert len(files(tmp_path / "out")) == 18
        (tmp_path / "out/train/mine.png").touch()
        run(count=2, splits=("train",), plan={"seconds": 0.3})
        kept = files(tmp_path / "out")
        assert [name for name in kept if name.startswith("test/")] == [f"test/_con/5-000{n}.png" for n in range(3)]
        assert len(kept) == 6 + 3 + 1
        assert [record["clip"] for record in read(tmp_path / "out")["clips"]] == ["5.wav", "0.wav", "1.wav"]  # type: ignore[attr-defined]

    def test_another_spec_needs_another_folder(self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path) -> None:
        run(count=1)
        with pytest.raises(SynthkitError, match=r"holds another export \(spec.json differs in png\)"):
            run(count=1, plan={"bits": 16})
        assert files(tmp_path / "out") == ["train/Old-Time - Historic/0.png"]

    def test_a_place_that_cannot_be_written_to_is_said(
        self, run: Callable[..., tuple[Exported, Plan]], tmp_path: Path
    ) -> None:
        (tmp_path / "out").write_text("a file")
        with pytest.raises(SynthkitError, match="make room or name another folder with -o"):
            run(count=1)


@pytest.mark.parametrize("title", ["a" * 300, "é" * 100, "...", "a/../b", "NUL.txt", "\udcff", "tab\tnew\n", " x "])
def test_names_are_safe_everywhere(title: str, tmp_path: Path) -> None:
    name = safe_name(title)
    (tmp_path / name).touch()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(name.encode()) <= 120
    assert name == name.strip(" .")
    assert safe_name(name) == name
