"""Trackers write what they are told, and what is there can be read by others."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from synthkit.audio import Audio
from synthkit.builtin.config import TrackerConfig
from synthkit.builtin.trackers import JsonLines, TensorBoard
from synthkit.errors import PluginError, RunError


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


class TestJsonLines:
    def test_a_line_per_step_readable_at_once(self, tmp_path: Path) -> None:
        tracker = JsonLines(TrackerConfig(), tmp_path / "run")
        tracker.scalars(0, {"vocoder/validation/mel_l1": 1.25})
        assert rows(tmp_path / "run") == [{"step": 0, "vocoder/validation/mel_l1": 1.25}]
        tracker.scalars(10, {"vocoder/train/mel_l1": 0.5, "vocoder/train/critic": 2})
        assert rows(tmp_path / "run")[1] == {"step": 10, "vocoder/train/mel_l1": 0.5, "vocoder/train/critic": 2.0}
        tracker.close()

    def test_an_earlier_run_is_kept(self, tmp_path: Path) -> None:
        for step in (1, 2):
            tracker = JsonLines(TrackerConfig(), tmp_path)
            tracker.scalars(step, {"a": step})
            tracker.close()
        assert [row["step"] for row in rows(tmp_path)] == [1, 2]

    def test_a_half_line_of_a_killed_process_does_not_spoil_the_next(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a": 0.5}\n{"step": 2, "a": 0.', encoding="utf-8")
        tracker = JsonLines(TrackerConfig(), tmp_path)
        tracker.scalars(2, {"a": 0.25})
        tracker.close()
        assert rows(tmp_path) == [{"step": 1, "a": 0.5}, {"step": 2, "a": 0.25}]

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_json_cannot_hold_is_null(self, tmp_path: Path, value: float) -> None:
        tracker = JsonLines(TrackerConfig(), tmp_path)
        tracker.scalars(3, {"bad": value, "good": 1.0})
        tracker.close()
        text = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
        assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) == {
            "step": 3,
            "bad": None,
            "good": 1.0,
        }

    def test_numbers_of_numpy_and_torch(self, tmp_path: Path) -> None:
        import torch

        tracker = JsonLines(TrackerConfig(), tmp_path)
        tracker.scalars(1, {"a": np.float32(0.5), "b": torch.tensor(0.25)})  # type: ignore[dict-item]
        tracker.close()
        assert rows(tmp_path) == [{"step": 1, "a": 0.5, "b": 0.25}]

    def test_a_folder_that_cannot_be_is_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(RunError, match="cannot write"):
            JsonLines(TrackerConfig(), tmp_path / "file" / "run")


class TestTensorBoard:
    def test_everything_can_be_read_back(self, tmp_path: Path) -> None:
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        tracker = TensorBoard(TrackerConfig(), tmp_path)
        for step, value in [(0, 2.0), (10, 1.0)]:
            tracker.scalars(step, {"vocoder/validation/mel_l1": value})
        stereo = Audio(np.stack([np.full(800, 0.5), np.full(800, -0.5)]), 8000)
        tracker.audio(10, "vocoder/validation/0", stereo)
        tracker.image(10, "vocoder/validation/0", np.zeros((20, 30, 3), dtype=np.uint8))
        tracker.close()

        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        assert [(e.step, e.value) for e in events.Scalars("vocoder/validation/mel_l1")] == [(0, 2.0), (10, 1.0)]
        (sound,) = events.Audio("vocoder/validation/0")
        assert (sound.step, sound.sample_rate, sound.length_frames) == (10, 8000.0, 800)
        (picture,) = events.Images("vocoder/validation/0")
        assert (picture.step, picture.width, picture.height) == (10, 30, 20)

    def test_without_the_package_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(PluginError, match=r"pip install 'synthkit\[tensorboard\]'"):
            TensorBoard(TrackerConfig(), tmp_path)
