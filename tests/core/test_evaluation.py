"""An evaluation: its intervals, what it makes and keeps, what it survives, and what it says."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy import stats

import synthkit
from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._run.checkpoint import Identity, save_files
from synthkit._run.device import pick_device
from synthkit._run.reporter import Reporter, Task
from synthkit._stages.evaluate import evaluate
from synthkit._stages.evaluation.contenders import load_contenders
from synthkit._stages.evaluation.measuring import Evaluation
from synthkit._stages.evaluation.statistics import Estimate, estimate, paired, share_within, student_t
from synthkit._stages.evaluation.text import as_tables, plus_minus
from synthkit._stages.loading import named_vocoder
from synthkit.audio import Audio, read
from synthkit.errors import ConfigError, DatasetError, SynthkitError, UnknownName

FAST = "griffin-lim:iterations=0"
BETTER = "griffin-lim:iterations=8"
PLUGIN = '''
"""Vocoders that fail, and a metric without figures for clips."""

import torch
from synthkit import Config, Metric, Offer, PartConfig, Score, Vocoder, hookimpl

class MoodySettings(PartConfig):
    """No settings."""

class Moody(Vocoder):
    """Cannot bear long clips."""
    def __init__(self, config, spec):
        self.spec = spec
    def vocode(self, features, *, random=None, progress=None):
        if features.shape[-1] > 50:
            raise RuntimeError("too long for me")
        return torch.zeros(len(features), self.spec.samples(features.shape[-1]))

class Longest(Metric):
    """Only the whole has a figure."""
    def __init__(self, config, spec):
        self.seconds = []
    def update(self, item):
        self.seconds.append(item.made.seconds)
    def score(self):
        return Score(name="longest", value=max(self.seconds), unit="s", better="higher")

@hookimpl
def synthkit_components():
    it = __name__
    return [
        Offer(kind="vocoder", name="moody", build=f"{it}:Moody", config=f"{it}:MoodySettings", summary="Moody."),
        Offer(kind="metric", name="longest", build=f"{it}:Longest", config=f"synthkit.builtin.config:MetricConfig",
              summary="The longest."),
    ]
'''


class Account(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


Evaluate = Callable[..., Evaluation]


def bell(file: Path, rate: int = 22050, seconds: float = 1.0, pitch: float = 440.0) -> None:
    at = np.arange(round(seconds * rate)) / rate
    Audio(0.5 * np.exp(-3 * at) * np.sin(2 * np.pi * pitch * at), rate).write(file)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Three sounds of several rates, and a file that is none."""
    folder = tmp_path / "music"
    for number, rate in enumerate((22050, 44100, 16000)):
        bell(folder / f"{number} #{rate} 100%.wav", rate, 0.4 + 0.4 * number, 220.0 * (number + 1))
    (folder / "broken.wav").write_bytes(b"RIFF and nothing else")
    return folder


@pytest.fixture
def run(music: Path, tmp_path: Path, catalog: Catalog) -> Evaluate:
    """Evaluate on `music`; small where nothing else is said."""

    def call(
        *vocoders: str, within: Catalog = catalog, account: Account | None = None, root: Path = music, **given: Any
    ) -> Evaluation:
        offered, config = within.configure("dataset", "folder", {"root": str(root), "licence": "CC BY 4.0"})
        source = Source(catalog=within, offered=offered, config=config)
        settings = {"split": None, "seconds": 0.5, "metrics": ["mel-l1", "level"], **given}
        return evaluate(vocoders, source, within, tmp_path / "out", reporter=account or Account(), **settings)

    return call


class Killed(Account):
    """Ctrl-C after two sounds."""

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        class Ending(Task):
            def update(self, done: int, status: str = "", details: Any = None) -> None:
                if description == "vocode" and done == 2:
                    raise KeyboardInterrupt

        yield Ending()


# --- statistics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 29, 30, 199, 1000])
def test_students_distribution_is_that_of_scipy(freedom: int) -> None:
    for level in (0.5, 0.9, 0.95, 0.999):
        assert student_t(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-11)
    for t in (0.0, 0.3, 2.0, 40.0):
        assert share_within(t, freedom) == pytest.approx(1 - 2 * stats.t.sf(t, freedom), abs=1e-13)


def test_the_interval_keeps_its_promise_for_few_clips() -> None:
    random = np.random.default_rng(5)
    for count in (2, 5, 12):
        draws = random.normal(3.0, 2.0, (2000, count))
        held = [abs(found.mean - 3.0) <= found.half for row in draws if (found := estimate(row)) and found.half]
        assert np.mean(held) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


def test_what_one_value_and_none_say() -> None:
    assert estimate([]) is None
    assert estimate([math.nan, math.inf]) is None
    assert estimate([2.0, math.nan]) == Estimate(2.0, None, 1)
    assert not Estimate(2.0, None, 1).excludes_zero
    assert not Estimate(0.0, 0.0, 5).excludes_zero


def test_a_paired_difference_sees_what_two_intervals_hide() -> None:
    hard = {str(number): float(number) for number in range(12)}
    worse = {clip: value + 0.1 + 0.01 * (-1) ** int(clip) for clip, value in hard.items()}
    first, second, difference = estimate(list(hard.values())), estimate(list(worse.values())), paired(hard, worse)
    assert first
    assert second
    assert difference
    assert first.high is not None
    assert second.low is not None
    assert second.low < first.high
    assert difference.excludes_zero
    assert difference.mean == pytest.approx(0.1)
    expected = stats.ttest_rel(list(worse.values()), list(hard.values())).confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high))
    assert paired(hard, {"elsewhere": 1.0, "3": 5.0}) == Estimate(2.0, None, 1)
    assert paired(hard, {"elsewhere": 1.0}) is None


def test_a_mean_has_the_digits_that_its_interval_allows() -> None:
    assert plus_minus(Estimate(1234.5678, 98.7, 9)) == "1,235 ± 99"
    assert plus_minus(Estimate(0.5, 1e-9, 9)) == "0.500000 ± 0.000000"


def test_statistics_and_decoding_need_no_torch() -> None:
    imports = "import sys; from synthkit._stages.evaluation import crops, statistics; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", imports], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- what it makes ---------------------------------------------------------------------------------------------------


def wavs(folder: Path) -> dict[str, int]:
    return {file.relative_to(folder).as_posix(): file.stat().st_mtime_ns for file in folder.rglob("*.wav")}


def test_sounds_page_and_numbers_belong_together(run: Evaluate) -> None:
    account = Account()
    found = run(FAST, BETTER, account=account)
    content = json.loads(found.file.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [report["id"] for report in content["left_out"]] == ["broken.wav"]
    assert any("broken.wav" in warning for warning in account.warnings)
    assert len(content["clips"]) == 3
    for clip in content["clips"]:
        assert [version["name"] for version in clip["versions"]] == [
            "original",
            "griffin-lim iterations=0",
            "griffin-lim iterations=8",
        ]
        original, *made = [found.folder / version["file"] for version in clip["versions"]]
        assert soundfile.info(original).duration == pytest.approx(min(0.5, 0.4 if "0 #" in clip["id"] else 0.5))
        for file in (original, *made):
            with soundfile.SoundFile(file) as sound:
                assert (sound.copyright, sound.title) == ("CC BY 4.0", clip["id"])
        for file in made:
            assert soundfile.info(file).samplerate == 22050
            assert soundfile.info(file).duration == pytest.approx(soundfile.info(original).duration, abs=1e-4)
    level = next(row for row in content["metrics"] if row["name"] == "level")
    values = [clip["versions"][1]["values"]["level"] for clip in content["clips"]]
    mean = level["vocoders"][0]["mean"]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (mean["value"], mean["low"], mean["high"]) == pytest.approx((np.mean(values), *expected))
    mel = next(row for row in content["metrics"] if row["name"] == "mel-l1")["vocoders"][1]
    assert mel["difference_to_first"]["value"] < 0
    page = found.page.read_text(encoding="utf-8")
    assert "22,050 Hz" in page
    assert "broken.wav" in page
    assert page.count("<audio") == 9


def test_what_is_done_is_not_done_again(run: Evaluate) -> None:
    first = run(FAST)
    assert first.made.new == 3
    before = wavs(first.folder)
    again = run(FAST)
    assert again.made.new == 0
    assert wavs(again.folder) == before
    assert again.to_json()["metrics"] == first.to_json()["metrics"]  # real-time figures too would be those of the first
    more = run(FAST, BETTER, metrics=["silence"])
    assert more.made.new == 3
    assert before.items() <= wavs(more.folder).items()


def test_a_killed_evaluation_goes_on_where_it_was(run: Evaluate) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(FAST, account=Killed())
    whole = run(FAST)
    assert whole.made.new == 1
    journal = whole.folder / "made.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines()
    journal.write_text("\n".join([*lines[:-1], lines[-1][:20]]), encoding="utf-8")
    assert run(FAST).made.new == 1
    victim = next(version.file for item in whole.items for version in item.made)
    victim.unlink()
    assert run(FAST).made.new == 1
    assert run(FAST).made.new == 0


def test_other_settings_make_other_sounds(run: Evaluate, music: Path) -> None:
    run(FAST)
    assert run(FAST, seed=1).made.new == 3
    assert run(FAST, seed=1, seconds=0.3).made.new == 3
    bell(music / "0 #22050 100%.wav", pitch=990.0)
    assert run(FAST, seed=1, seconds=0.3).made.new == 1


def test_a_clip_that_a_vocoder_fails_at_does_not_end_it(run: Evaluate, report_plugin: Callable[[str], Catalog]) -> None:
    account = Account()
    found = run(FAST, "moody", within=report_plugin(PLUGIN), account=account, seconds=1.0, metrics=["level", "longest"])
    assert [failure.clip for failure in found.made.failures] == ["1 #44100 100%.wav", "2 #16000 100%.wav"]
    assert all("too long for me" in failure.reason for failure in found.made.failures)
    assert any("too long for me" in warning for warning in account.warnings)
    level, longest = found.rows
    assert [it.mean.count for it in level.measured if it.mean] == [3, 1]
    assert [it.mean for it in longest.measured] == [None, None]
    assert [it.score.value for it in longest.measured if it.score] == pytest.approx([1.0, 0.4], abs=1e-3)
    assert next(as_tables(found))[1][1][1:3] == ["1.00", "0.400"]
    assert "too long for me" in found.page.read_text(encoding="utf-8")


def test_vocoders_of_several_rates_are_compared_at_the_lowest(run: Evaluate) -> None:
    found = run(FAST, "griffin-lim:iterations=0,preset=hifi-gan", "griffin-lim:iterations=0,preset=melgan-vc")
    rates = {it.name: it.spec.sample_rate for it in found.contenders}
    assert sorted(rates.values()) == [16000, 22050, 22050]
    assert found.spec.sample_rate == 16000
    for item in found.items:
        for version in item.made:
            assert read(version.file).sample_rate == rates[version.name]
    assert all(it.mean and it.mean.count == 3 for row in found.rows for it in row.measured)
    assert "All are compared at the lowest of the rates: 16,000 Hz" in found.page.read_text(encoding="utf-8")


def test_a_run_gives_its_features_to_a_vocoder_by_name(tmp_path: Path, run: Evaluate, catalog: Catalog) -> None:
    spec = synthkit.PRESETS["hifi-gan"].spec
    offered, config = catalog.configure("vocoder", "melgan", {"channels": 2})
    networks = named_vocoder("melgan", spec, catalog, {"channels": 2}).networks
    contents = {f"{name}.safetensors": network.state_dict() for name, network in networks.items()}
    identity = Identity(offered=offered, config=config, spec=spec, labels=())
    trained = save_files(tmp_path / "small", 1, identity, contents, {})
    found = run(FAST, str(trained))
    assert [it.name for it in found.contenders] == ["griffin-lim iterations=0", trained.name]
    assert {it.spec for it in found.contenders} == {synthkit.PRESETS["hifi-gan"].spec} == {found.spec}
    assert found.made.new == 6
    assert run(str(trained)).made.new == 0
    copied = shutil.copytree(trained, tmp_path / "original")  # a name that the recordings have already
    found = run(str(copied))
    assert [it.name for it in found.contenders] == [str(copied)]
    assert [len(item.made) for item in found.items] == [1, 1, 1]


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "error", "says"),
    [
        ([], ConfigError, "needs a vocoder"),
        (["griffin-lin"], UnknownName, "neither the folder of a run nor a vocoder"),
        (["melgan"], ConfigError, "has to be trained"),
        (["griffin-lim:iterations"], ConfigError, "griffin-lim:name=value"),
        (["griffin-lim:rounds=3"], ConfigError, "rounds"),
        (["griffin-lim:preset=hifigam"], UnknownName, "did you mean"),
        (["griffin-lim", "griffin-lim:iterations=60"], ConfigError, "are the same vocoder"),
        (["tests"], SynthkitError, "is not"),
    ],
)
def test_what_is_no_vocoder_is_a_sentence(
    wanted: Sequence[str], error: type[SynthkitError], says: str, catalog: Catalog, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says) as caught:
        load_contenders(wanted, catalog, pick_device("cpu"), say=lambda text: None)
    assert "\n" not in str(caught.value)


def test_nothing_is_written_where_something_is_wrong(run: Evaluate, tmp_path: Path, music: Path) -> None:
    for vocoders, settings in ((["griffin-lin"], {}), ([FAST], {"metrics": ["mel-l2"]})):
        with pytest.raises(UnknownName):
            run(*vocoders, **settings)
    assert not (tmp_path / "out").exists()


def test_a_set_without_a_usable_clip_is_a_sentence(run: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_bytes(b"no sound")
    Audio(np.zeros(8000), 8000).write(tmp_path / "bad" / "b.wav")
    with pytest.raises(DatasetError, match="none of the 2 clips can be read"):
        run(FAST, root=tmp_path / "bad")
    with pytest.raises(DatasetError, match="the test split has no clip; there are 1 in train, 1 in validation"):
        run(FAST, root=tmp_path / "bad", split="test")


def test_python_has_it_too(tmp_path: Path) -> None:
    found = synthkit.evaluate(
        FAST, data="tones", clips_per_label=3, output=tmp_path / "out", count=2, seconds=0.3, metrics=["level"]
    )
    assert found.page.is_file()
    assert [row.metric for row in found.rows] == ["level"]
    assert found.rows[0].measured[0].mean
