"""Where the numbers, sounds and pictures of a run go: JSON lines, and TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.builtin.config import TrackerConfig
from synthkit.errors import PluginError, RunError
from synthkit.interfaces import Tracker

if TYPE_CHECKING:
    import numpy as np

    from synthkit.audio import Audio


class JsonLines(Tracker):
    """One line `{"step": ..., name: value, ...}` per call in `metrics.jsonl` of the run folder, added to what is there.

    Each line can be read by others when the call returns. JSON has no infinity and no not-a-number: such a value is
    written as `null`.
    """

    def __init__(self, config: TrackerConfig, folder: Path | str) -> None:
        self.path = Path(folder) / "metrics.jsonl"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _drop_half_line(self.path)
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror or error}") from error

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one line."""
        row = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **row}, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard(Tracker):
    """Scalars, sounds and pictures in the folder `tensorboard` of the run; look at them with `tensorboard --logdir runs`."""

    def __init__(self, config: TrackerConfig, folder: Path | str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise PluginError(
                "the tracker 'tensorboard' needs a package that is not installed: pip install 'synthkit[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(Path(folder) / "tensorboard"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of a curve per value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def audio(self, step: int, name: str, audio: Audio) -> None:
        """A player; several channels are mixed to one, which is all TensorBoard takes."""
        samples = audio.mono().samples.clip(-1.0, 1.0)
        self._writer.add_audio(name, samples, step, sample_rate=audio.sample_rate)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture `[height, width, 3]`, uint8."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _drop_half_line(path: Path) -> None:
    """Cut off a last line without an end: the process that wrote it was killed, and the next line must not join it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
