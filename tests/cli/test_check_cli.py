"""`synthkit check`, `show`, `new` and `schema` as a user types them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]

WRONG = """\
recipe: 1
name: wrong
data: {use: tons}
features: {use: log-mel, n_mels: 0}
vocoder: {use: melgan, chanels: 8}
train: {steps: ten}
"""


def test_check_says_what_a_recipe_does(synthkit_cli: Call) -> None:
    done = synthkit_cli("check", "quickstart", "griffin-lim")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("recipe ok") == 2
    assert "quickstart: recipe ok" in done.stdout
    for word in ("tones", "log-mel: 22050 Hz, n_fft 1024, hop 256", "vocoder by melgan", "beside griffin-lim"):
        assert word in done.stdout


def test_check_lists_every_mistake_and_exits_2(synthkit_cli: Call, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    done = synthkit_cli("check", "wrong.yaml", "griffin-lim")
    assert done.returncode == 2
    assert done.stdout.startswith("griffin-lim: recipe ok")
    assert done.stderr.splitlines() == [
        "wrong.yaml:3:13: data.use: there is no dataset 'tons'; did you mean 'tones'?",
        "wrong.yaml:4:34: features.n_mels: must be greater than 0, is 0",
        "wrong.yaml:5:24: vocoder.chanels: unknown key; did you mean 'channels'?",
        "wrong.yaml:6:1: train.part: a required key is missing",
        "wrong.yaml:6:16: train.steps: expected a whole number, got 'ten'",
        "wrong.yaml: 5 mistakes",
    ]


def test_run_refuses_a_wrong_recipe_with_the_same_words_and_does_nothing(synthkit_cli: Call, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    done = synthkit_cli("run", "wrong.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yaml"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["check", "quikstart"],
            "there is no file 'quikstart' and no shipped recipe 'quikstart'; did you mean 'quickstart'?",
        ),
        (
            ["check", "quickstart", "--set", "train.0.stps=1"],
            "--set train.0.stps=1: train.0.stps: unknown key; did you mean 'steps'?",
        ),
        (["check", "melgan-folder", "--set", "data.root=nowhere"], "data.root: the folder "),
        (["show", "quikstart"], "did you mean 'quickstart'?"),
        (["new", "quikstart"], "there is no shipped recipe 'quikstart'; did you mean 'quickstart'?"),
    ],
)
def test_mistakes_are_sentences_on_standard_error(synthkit_cli: Call, arguments: list[str], says: str) -> None:
    done = synthkit_cli(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recipe_can_be_checked_without_its_data(synthkit_cli: Call) -> None:
    assert synthkit_cli("check", "melgan-folder").returncode == 2
    assert synthkit_cli("check", "melgan-folder", "--no-files").returncode == 0
    assert synthkit_cli("check", "melgan-folder", "--tiny").returncode == 0


def test_show_prints_a_recipe_that_shows_as_itself(synthkit_cli: Call, tmp_path: Path) -> None:
    first = synthkit_cli("show", "quickstart", "--set", "train.0.steps=123")
    assert first.returncode == 0
    assert "steps: 123" in first.stdout
    (tmp_path / "shown.yaml").write_text(first.stdout, encoding="utf-8")
    assert synthkit_cli("show", "shown.yaml").stdout == first.stdout


def test_new_copies_a_recipe_with_its_comments_once(synthkit_cli: Call, tmp_path: Path, root: Path) -> None:
    done = synthkit_cli("new", "quickstart", "-o", "mine/first.yaml")
    assert done.returncode == 0
    copy = (tmp_path / "mine" / "first.yaml").read_text(encoding="utf-8")
    original = (root / "recipes" / "quickstart.yaml").read_text(encoding="utf-8")
    assert copy == original.split("\n", 1)[1]
    assert synthkit_cli("check", "mine/first.yaml").returncode == 0
    again = synthkit_cli("new", "griffin-lim", "-o", "mine/first.yaml")
    assert again.returncode == 2
    assert "is there already and is not replaced" in again.stderr
    assert (tmp_path / "mine" / "first.yaml").read_text(encoding="utf-8") == copy


def test_schema_prints_json(synthkit_cli: Call) -> None:
    done = synthkit_cli("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["$schema"].endswith("2020-12/schema")


def test_components_of_a_plugin_file_stand_in_the_schema_and_in_recipes(synthkit_cli: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from synthkit.config import PartConfig\n"
        "from synthkit.hookspecs import hookimpl\n"
        "from synthkit.interfaces import Offer\n"
        "class HumConfig(PartConfig):\n"
        "    depth: int = 3\n"
        "    '''How deep it hums.'''\n"
        "@hookimpl\n"
        "def synthkit_components():\n"
        "    return [Offer(kind='vocoder', name='hum', build=f'{__name__}:Hum', config=f'{__name__}:HumConfig',\n"
        "                  summary='Hums.')]\n",
        encoding="utf-8",
    )
    (tmp_path / "r.yaml").write_text(
        "recipe: 1\nname: hum\ndata: tones\nfeatures: log-mel\nvocoder: {use: hum, dept: 2}\n", encoding="utf-8"
    )
    assert "How deep it hums." in synthkit_cli("--plugin", "mine.py", "schema").stdout
    done = synthkit_cli("--plugin", "mine.py", "check", "r.yaml")
    assert "r.yaml:5:21: vocoder.dept: unknown key; did you mean 'depth'?" in done.stderr
    without = synthkit_cli("check", "r.yaml")
    assert "r.yaml:5:16: vocoder.use: there is no vocoder 'hum'" in without.stderr
