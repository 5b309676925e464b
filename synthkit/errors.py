"""One tree of errors. Whatever a user can cause is a `SynthkitError`: a sentence to read, and exit code 2, never a traceback.

>>> issubclass(RecipeError, SynthkitError) and issubclass(UnreadableClip, AudioError)
True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class SynthkitError(Exception):
    """Base of every error a user can cause or mend. Its text is a full sentence that says what to do."""

    exit_code = 2


class ConfigError(SynthkitError):
    """A value that a component cannot work with (in Python; in a recipe it becomes a `Problem` with a position)."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake in a recipe: where it is, what was expected, and the nearest right thing.

    >>> str(Problem(file="r.yaml", line=4, column=3, path="train.stpes", message="unknown key", hint="did you mean 'steps'?"))
    "r.yaml:4:3: train.stpes: unknown key; did you mean 'steps'?"
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        path = f"{self.path}: " if self.path else ""
        return f"{where}{path}{self.message}{'; ' + self.hint if self.hint else ''}"


class RecipeError(SynthkitError):
    """A recipe with one or more mistakes; all of them are in `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownName(SynthkitError):
    """A component, recipe, preset or plugin that does not exist; the message has the nearest name that does."""


class PluginError(SynthkitError):
    """A plugin that is broken, or a component whose code cannot be imported."""


class SpecMismatch(SynthkitError):
    """Features of one meaning were given to a part that needs another; lists each differing field."""

    def __init__(self, differences: Mapping[str, tuple[Any, Any]], *, given: str, needed: str, advice: str) -> None:
        self.differences = dict(differences)
        lines = [f"  {field}: {given} has {a!r}, {needed} needs {b!r}" for field, (a, b) in differences.items()]
        super().__init__("\n".join([f"features of {given} do not fit {needed}:", *lines, advice]))


class AudioError(SynthkitError):
    """Sound that cannot be read, written or used."""


class UnreadableClip(AudioError):
    """A clip that gives no usable sound. `code` is one word for tables (`empty`, `unreadable`, `too-short`, ...).

    >>> error = UnreadableClip("a.mp3", "empty", "the file has 0 bytes")
    >>> error.code, str(error)
    ('empty', 'a.mp3: the file has 0 bytes')
    """

    def __init__(self, name: str, code: str, reason: str) -> None:
        self.name, self.code, self.reason = name, code, reason
        super().__init__(f"{name}: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:  # it crosses process boundaries
        return type(self), (self.name, self.code, self.reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipReport:
    """What decoding one clip showed."""

    id: str
    code: str
    """`ok`, or one word for what is wrong: `missing`, `changed`, `empty`, `unreadable`, `truncated`, `too-short`,
    `too-long`, `too-loud`, `silent`, `not-finite`, `out-of-memory`, `crashed`, `timed-out`. The sound of a `truncated`,
    `too-long`, `too-loud` or `silent` clip can be read all the same."""
    reason: str = ""
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    peak: float = 0.0
    """Largest magnitude of a sample; 1 is full scale."""
    rms: float = 0.0
    """Root of the mean square of all samples; 0 where it was not measured."""
    file: str = ""
    """The file, where there is one."""


class DatasetError(SynthkitError):
    """A data set that is absent, empty, or has lost more clips than the recipe allows."""


class DownloadError(SynthkitError):
    """A file that no server gives whole and as it should be, or for which there is no room."""


class ArchiveError(SynthkitError):
    """An archive that is damaged or hostile, or for which there is no room; nothing of it was put into place."""


class CheckpointError(SynthkitError):
    """A checkpoint that is absent, damaged, or of another network."""


class RunError(SynthkitError):
    """A run folder that is not one, is in use, or belongs to another recipe."""


class ProcessLost(RunError):
    """One of several processes that train together has ended or cannot be reached, so that the others cannot go on."""

    exit_code = 75  # EX_TEMPFAIL: the same command again may do


class TrainingError(SynthkitError):
    """Training that cannot go on: a loss that is not finite, nothing to train."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name, or what there is.

    >>> nearest("melgna", ["melgan", "griffin-lim"])
    "did you mean 'melgan'?"
    >>> nearest("zzz", ["a", "b"])
    'there are: a, b'
    """
    import difflib

    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
