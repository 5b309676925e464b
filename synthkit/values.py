"""What components give each other: clips, batches, requests, comparisons, scores. Importing this file imports no torch.

Letters in shapes: `B` batch, `T` samples, `M` mel bands, `N` frames, `P` frames of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from synthkit.errors import ClipReport

if TYPE_CHECKING:
    from torch import Tensor

    from synthkit.audio import Audio

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` by work that lasts."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording of a data set: an entry of its index, never the sound itself."""

    id: str
    """Unique in its data set and stable between machines (a relative path, a track number)."""
    key: str
    """Identity of the content: equal keys promise equal sound. Names the cache entry."""
    path: str | None = None
    """The file, where there is one."""
    label: str | None = None
    """One of the data set's `labels`, where it has any."""
    licence: str = ""
    """Licence of this very recording, carried to whatever is made of it."""
    text: str = ""
    """What is said in it, where the data set knows."""
    credit: str = ""
    """Whom to name for it, and what it is called, as most licences ask; carried along with the licence."""
    stamp: str = ""
    """What `synthkit.storage.stamp` said of the file just before `key` was made of its bytes. Sound of a file that
    looks otherwise after it was decoded is not stored under this key; empty: not checked."""


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What decoding a whole data set showed, clip by clip."""

    dataset: str
    clips: tuple[ClipReport, ...]

    @property
    def bad(self) -> tuple[ClipReport, ...]:
        """The clips that are not `ok`."""
        return tuple(clip for clip in self.clips if clip.code != "ok")


Ability = Literal["continue", "blend", "text", "conditions", "temperature"]
"""What a model may be able to serve beside a label and a length; see the fields of `Request` that it belongs to."""

ABILITIES: dict[Ability, str] = {
    "continue": "continue a clip",
    "blend": "make clips between two labels or seeds",
    "text": "say a text",
    "conditions": "follow the course of a clip",
    "temperature": "vary less or more than it learned (temperature 1)",
}
"""Each ability in words: what a model that lacks it "cannot"."""


def can_serve(abilities: Collection[str]) -> str:
    """What a model with these abilities can do, in words.

    >>> can_serve({"temperature", "blend"}), can_serve(())
    ('blend, temperature', 'nothing beside labels and a length')
    """
    return ", ".join(sorted(abilities)) or "nothing beside labels and a length"


@dataclass(frozen=True, kw_only=True)
class Blend:
    """The other end of a way between two items, for each item of a request."""

    share: tuple[float, ...]
    """Where each item stands: 0 is the item itself, 1 the other end."""
    labels: tuple[str, ...] | None = None
    """The other label of each item; None: the same."""
    seeds: tuple[int, ...] = ()
    """The other seed of each item; empty: the same."""

    def piece(self, start: int, stop: int) -> Blend:
        """The ways of items `start` to `stop`."""
        labels = None if self.labels is None else self.labels[start:stop]
        return Blend(share=self.share[start:stop], labels=labels, seeds=self.seeds[start:stop])


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to generate."""

    frames: int
    """Frames N of each item."""
    count: int = 1
    """Number of items B."""
    labels: tuple[str, ...] | None = None
    """One label per item, for a model that was trained with labels."""
    prompt: Tensor | None = None
    """Features `[B, M, P]` to continue (ability `continue`). They are the first P of the `frames` that come back."""
    temperature: float = 1.0
    """1 samples the model as learned; lower is less varied (ability `temperature`)."""
    seeds: tuple[int, ...] = ()
    """One seed per item, so that an item does not depend on its batch; empty: drawn from `random`."""
    blend: Blend | None = None
    """Items between two labels or two seeds (ability `blend`)."""
    texts: tuple[str, ...] | None = None
    """What each item says (ability `text`)."""
    conditions: Tensor | None = None
    """Dense features `[B, C, N]` that each item follows (ability `conditions`); the model says what its C rows mean."""

    def piece(self, start: int, stop: int) -> Request:
        """Items `start` to `stop` as a request of their own; those past the end are left out.

        >>> Request(frames=4, count=3, labels=("a", "b", "c"), seeds=(7, 8, 9)).piece(1, 4).labels
        ('b', 'c')
        """
        blend = self.blend
        return replace(
            self,
            count=max(0, min(stop, self.count) - start),
            labels=None if self.labels is None else self.labels[start:stop],
            prompt=None if self.prompt is None else self.prompt[start:stop],
            seeds=self.seeds[start:stop],
            blend=None if blend is None else blend.piece(start, stop),
            texts=None if self.texts is None else self.texts[start:stop],
            conditions=None if self.conditions is None else self.conditions[start:stop],
        )


@dataclass(kw_only=True)
class Batch:
    """What one training step sees: crops and their features, aligned by construction."""

    audio: Tensor
    """`[B, T]` samples in -1..1."""
    features: Tensor
    """`[B, M, spec.frames(T)]` of the same crops."""
    labels: Tensor | None = None
    """`[B]` indices into the data set's labels."""
    clips: tuple[str, ...] = ()
    """Ids of the clips the crops came from."""
    texts: tuple[str, ...] | None = None
    """What is said in each clip, "" where the data set does not know; None where it knows of none."""
    rows: range | None = None
    """Which rows of the step's whole batch these are (one process of several has its share); None: all, from 0."""

    def piece(self, start: int, stop: int) -> Batch:
        """Items `start` to `stop` as a batch of their own, without copying."""
        return Batch(
            audio=self.audio[start:stop],
            features=self.features[start:stop],
            labels=None if self.labels is None else self.labels[start:stop],
            clips=self.clips[start:stop],
            texts=None if self.texts is None else self.texts[start:stop],
            rows=(range(len(self)) if self.rows is None else self.rows)[start:stop],
        )

    def __len__(self) -> int:
        return int(self.audio.shape[0])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One made clip beside what it should sound like; both have the same rate and length."""

    made: Audio
    reference: Audio
    elapsed: float = 0.0
    """Seconds that making it took."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One figure of a metric over all items it saw."""

    name: str
    value: float
    unit: str = ""
    better: Literal["lower", "higher", "zero"] = "lower"
    per_item: tuple[float, ...] = field(default=(), repr=False)
