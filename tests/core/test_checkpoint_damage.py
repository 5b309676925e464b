"""Damaged checkpoints are found, said and passed over; a run that is set back looks as it did at that step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkit._run.damage import best_good, damage, last_good, set_back, tidy
from synthkit._run.folder import RunFolder, step_name
from synthkit._stages.loading import find_checkpoint
from synthkit.errors import CheckpointError
from synthkit.storage import file_hash, write_json

FILES = {"net.safetensors": b"weights" * 9, "live.net.safetensors": b"live" * 9, "training.pt": b"optimisers" * 9}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "runs" / "x")
    made.path.mkdir(parents=True)
    made.recipe_file.write_text("recipe: 1\n", encoding="utf-8")
    for step, value in ((2, 0.3), (4, 0.2), (6, 0.5)):
        save(made, step, value)
    return made


def save(run: RunFolder, step: int, value: float) -> Path:
    """A checkpoint folder as far as the disk knows of it."""
    folder = run.checkpoint_root("vocoder") / step_name(step)
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    files = {name: file_hash(folder / name) for name in FILES}
    score = {"term": "mel_l1", "value": value}
    write_json(folder / "meta.json", {"format": 1, "kind": "vocoder", "step": step, "score": score, "files": files})
    return folder


def truncate(folder: Path) -> None:
    with (folder / "training.pt").open("rb+") as stream:
        stream.truncate(11)


def empty(folder: Path) -> None:
    (folder / "net.safetensors").write_bytes(b"")


def flip(folder: Path) -> None:
    content = bytearray((folder / "net.safetensors").read_bytes())
    content[5] ^= 0x10
    (folder / "net.safetensors").write_bytes(content)


def remove(folder: Path) -> None:
    (folder / "training.pt").unlink()


def remove_meta(folder: Path) -> None:
    (folder / "meta.json").unlink()


def tear_meta(folder: Path) -> None:
    text = (folder / "meta.json").read_text(encoding="utf-8")
    (folder / "meta.json").write_text(text[: len(text) // 2], encoding="utf-8")


def empty_meta(folder: Path) -> None:
    (folder / "meta.json").write_bytes(b"")


def reach_out(folder: Path) -> None:
    """A list of files that names one elsewhere."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    meta["files"]["../../../recipe.yaml"] = "0" * 64
    write_json(folder / "meta.json", meta)


DAMAGES = [
    (truncate, "training.pt is damaged (its checksum is not the one in meta.json)"),
    (empty, "net.safetensors is damaged (it is empty, and its checksum is not the one in meta.json)"),
    (flip, "net.safetensors is damaged (its checksum"),
    (remove, "training.pt is missing"),
    (remove_meta, "is not a checkpoint: it has no meta.json"),
    (tear_meta, "meta.json' is damaged: "),
    (empty_meta, "meta.json' is damaged: "),
    (reach_out, "recipe.yaml is missing"),
]


@pytest.mark.parametrize(("harm", "why"), DAMAGES)
def test_the_last_good_one_is_used_and_the_damaged_one_said(
    run: RunFolder, harm: Callable[[Path], None], why: str
) -> None:
    newest = run.newest("vocoder")
    assert newest is not None
    assert damage(newest) is None
    harm(newest)
    said: list[str] = []
    assert last_good(run, "vocoder", said.append) == run.checkpoint_root("vocoder") / step_name(4)
    (text,) = said
    assert text.startswith(f"the checkpoint {str(newest)!r} cannot be used: ")
    assert why in text
    assert text.endswith("; step-0000004 is used instead")


def test_a_whole_one_is_used_in_silence_and_none_is_no_error(run: RunFolder) -> None:
    said: list[str] = []
    assert last_good(run, "vocoder", said.append) == run.newest("vocoder")
    assert last_good(run, "model", said.append) is None
    assert said == []


def test_all_damaged_is_an_error_that_says_what_to_do(run: RunFolder) -> None:
    for folder in run.checkpoints("vocoder"):
        remove(folder)
    with pytest.raises(CheckpointError, match=r"step-0000006.*training.pt is missing.*start again with --fresh"):
        last_good(run, "vocoder", pytest.fail)


def test_the_best_is_used_until_it_is_damaged_where_it_matters(run: RunFolder) -> None:
    best = run.best("vocoder")
    assert best == run.checkpoint_root("vocoder") / step_name(4)
    truncate(best)  # of no concern to generating
    assert best_good(run, "vocoder", pytest.fail) == best
    said: list[str] = []
    assert best_good(run, "vocoder", said.append, learning=True) == run.newest("vocoder")
    flip(best)
    assert best_good(run, "vocoder", said.append) == run.newest("vocoder")
    assert [text.endswith("step-0000006 is used instead") for text in said] == [True, True]


def test_a_checkpoint_that_the_user_names_is_not_replaced_by_another(run: RunFolder) -> None:
    folder = run.checkpoint_root("vocoder") / step_name(4)
    assert find_checkpoint(folder, "vocoder", pytest.fail) == folder
    flip(folder)
    whole = str(run.checkpoint_root("vocoder") / step_name(6))
    with pytest.raises(CheckpointError, match=rf"net.safetensors is damaged .*; '{whole}' is whole"):
        find_checkpoint(folder, "vocoder", pytest.fail)
    for other in run.checkpoints("vocoder"):
        empty(other)
    with pytest.raises(CheckpointError, match="there is no whole one beside it"):
        find_checkpoint(folder, "vocoder", pytest.fail)


def test_leftovers_of_killed_writers_are_removed_and_what_they_replaced_is_found(run: RunFolder) -> None:
    root = run.checkpoint_root("vocoder")
    (root / ".step-0000008.tmp").mkdir()
    (root / ".step-0000002.gone").mkdir()
    (root / step_name(4)).rename(root / f"{step_name(4)}.replaced")  # killed before the new one was in place
    save(run, 10, 0.9)
    (root / step_name(2)).rename(root / f"{step_name(2)}.replaced")  # killed after that
    save(run, 2, 0.9)
    assert [folder.name for folder in run.checkpoints("vocoder")] == [
        step_name(2), f"{step_name(4)}.replaced", step_name(6), step_name(10)
    ]  # fmt: skip
    assert run.best("vocoder") == root / f"{step_name(4)}.replaced"
    tidy(root)
    assert sorted(path.name for path in root.iterdir()) == [step_name(step) for step in (2, 4, 6, 10)]


ROWS = [
    {"step": 0, "vocoder/validation/mel_l1": 1.0},
    {"step": 2, "vocoder/train/generator": 0.5},
    {"step": 4, "vocoder/train/generator": None},
    {"step": 5, "vocoder/train/generator": 0.3},
]


def write_rows(run: RunFolder, rows: list[dict[str, object]], end: str = "") -> None:
    run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows) + end, encoding="utf-8")


def read_rows(run: RunFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in run.metrics_file.read_text(encoding="utf-8").splitlines()]


def test_a_run_that_is_set_back_knows_nothing_of_later_steps(run: RunFolder) -> None:
    write_rows(run, [*ROWS], end='{"step": 6, "vocoder/tr')
    with run.metrics_file.open("a", encoding="utf-8") as tracker:
        set_back(run, "vocoder", 4)
        tracker.write('{"step": 5, "vocoder/train/generator": 0.25}\n')
    assert read_rows(run) == [*ROWS[:3], {"step": 5, "vocoder/train/generator": 0.25}]
    assert [folder.name for folder in run.checkpoints("vocoder")] == [step_name(2), step_name(4)]
    assert (run.checkpoint_root("vocoder") / f"damaged-{step_name(6)}").is_dir()


def test_rows_of_another_part_stay(run: RunFolder) -> None:
    model = [{"step": 8, "model/train/nats": 2.0}]
    write_rows(run, [*ROWS, *model])
    set_back(run, "vocoder", 2)
    assert read_rows(run) == [*ROWS[:2], *model]


def test_a_run_that_never_saved_begins_with_no_rows(run: RunFolder) -> None:
    write_rows(run, [*ROWS])
    set_back(run, "vocoder", -1)
    assert read_rows(run) == []
    assert run.checkpoints("vocoder") == []
