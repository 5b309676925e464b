"""Tiers of MelNet that learned in different runs become one run: `synthkit assemble`, from a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import synthkit
from synthkit._catalog import Catalog
from synthkit._stages.assembling import assemble
from synthkit.errors import CheckpointError, SynthkitError

RECIPE = """recipe: 1
name: tiers
seed: {seed}
data: {{use: tones, clips_per_label: 3, seconds: 0.5, sample_rate: 8000}}
features: {{use: log-mel, preset: null, sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 12, floor: 1e-3}}
model: {{use: melnet, hidden: {hidden}, layers: [1, 1, 1], mixtures: 2}}
vocoder: griffin-lim
train:
  part: model
  steps: 2
  batch: 2
  crop_seconds: 0.128
  ema: {ema}
  objective: {{use: melnet, tiers: {tiers}}}
generate: {{count: 1, seconds: 0.2}}
report: {{evaluate: {{count: 0}}}}
"""


def command(folder: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    call = [sys.executable, "-m", "synthkit", *map(str, args)]
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def learn(folder: Path, name: str, tiers: str, *, hidden: int = 6, ema: str = "null", seed: int = 1) -> None:
    """A run of its own in which the tiers learn."""
    recipe = folder / f"{name}.yaml"
    recipe.write_text(RECIPE.format(tiers=tiers, hidden=hidden, ema=ema, seed=seed))
    synthkit.run(recipe, run_dir=folder / name, stages="prepare..train")


def put_together(folder: Path, *runs: str, out: str) -> None:
    assemble([folder / run for run in runs], Catalog.discover(), folder / out, pytest.fail)


def weights(run: Path, network: str) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "model" / "step-0000002" / f"{network}.safetensors")


def meta(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "checkpoints" / "model" / "step-0000002" / "meta.json").read_text())
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which tiers 1 and 3, tier 2 (averaged), and again tier 3 learned in runs of different seeds."""
    folder = tmp_path_factory.mktemp("tiers")
    (folder / "cache").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CACHE", str(folder / "cache"))
        learn(folder, "coarse", "[1, 3]")
        learn(folder, "fine", "[2]", ema="0.5", seed=2)
        learn(folder, "again", "[3]", seed=3)
        yield folder


def test_a_checkpoint_says_which_networks_have_learned(folder: Path) -> None:
    assert [meta(folder / name)["learned"] for name in ("coarse", "fine")] == [["tier1", "tier3"], ["tier2"]]


def test_each_tier_comes_from_the_run_that_taught_it(folder: Path) -> None:
    done = command(folder, "assemble", "coarse", "fine", "-o", "whole")
    assert done.returncode == 0, done.stderr
    assert "tier1: coarse, step 2\ntier2: fine, step 2\ntier3: coarse, step 2\n" in done.stdout
    for network, run in {"tier1": "coarse", "tier2": "fine", "tier3": "coarse"}.items():
        made, taught = weights(folder / "whole", network), weights(folder / run, network)
        assert all(torch.equal(value, taught[name]) for name, value in made.items()), network
    assert meta(folder / "whole")["learned"] == ["tier1", "tier2", "tier3"]
    assert meta(folder / "whole")["assembled"] == {
        name: {"run": run, "step": 2} for name, run in (("tier1", "coarse"), ("tier2", "fine"), ("tier3", "coarse"))
    }


def test_tiers_that_have_not_learned_are_named_where_they_are_to_be_heard(folder: Path) -> None:
    unlearned = command(folder, "generate", "coarse", "--count", "1", "--seconds", "0.2", "-o", "noise")
    assert unlearned.returncode == 0, unlearned.stderr
    said = " ".join(unlearned.stderr.split())
    assert "tier2 of" in said
    assert "did not learn in that run, and what comes of it is as good as noise: `synthkit assemble`" in said
    put_together(folder, "fine", "coarse", out="complete")
    complete = command(folder, "generate", "complete", "--count", "1", "--seconds", "0.2", "-o", "music")
    assert complete.returncode == 0, complete.stderr
    assert "did not learn" not in complete.stderr


def test_what_is_assembled_generates_reports_and_learns_on(folder: Path) -> None:
    put_together(folder, "fine", "coarse", out="heard")
    heard = folder / "heard"
    synthkit.run(heard / "recipe.yaml", run_dir=heard)
    assert (heard / "report.html").is_file()
    tuned = (folder / "coarse.yaml").read_text().replace("tiers: [1, 3]", "tiers: [2]")
    tuned = tuned.replace("use: melnet, hidden: 6, layers: [1, 1, 1], mixtures: 2", f"from: {heard}")
    (folder / "tuned.yaml").write_text(tuned)
    synthkit.run(folder / "tuned.yaml", run_dir=folder / "tuned", stages="prepare..train")
    assert meta(folder / "tuned")["learned"] == ["tier1", "tier2", "tier3"]
    put_together(folder, "tuned", "coarse", out="wholer")  # what was passed on is the same in both runs
    with pytest.raises(CheckpointError, match="'tier2' has learned in 'tuned' and differently in 'fine': leave one"):
        put_together(folder, "tuned", "fine", out="torn")


def test_what_does_not_fit_is_refused_in_one_sentence(folder: Path) -> None:
    learn(folder, "wider", "[2]", hidden=7)
    cases = {
        (
            "coarse",
        ): "no run has learned 'tier2' ('coarse' learned tier1, tier3): train it, and name its run beside the others",
        (
            "coarse",
            "fine",
            "again",
        ): "'tier3' has learned in 'coarse' and differently in 'again': leave one of them out",
        ("coarse", "wider"): "'coarse' and 'wider' cannot be one: config.hidden is 6 in 'coarse' and 7 in 'wider'",
        ("coarse", "cache"): "is not a run folder",
    }
    for runs, sentence in cases.items():
        with pytest.raises(SynthkitError) as caught:
            put_together(folder, *runs, out="out")
        assert sentence in str(caught.value)
        assert not (folder / "out").exists()
    done = command(folder, "assemble", "coarse", "fine", "-o", "fine")
    assert (done.returncode, done.stderr.count("\n"), "'fine' is there already" in done.stderr) == (2, 1, True)
