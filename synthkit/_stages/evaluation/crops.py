"""The crop of a clip that is evaluated. No torch: the processes that decode import this and nothing else of the package."""

from __future__ import annotations

from synthkit.audio import Audio
from synthkit.errors import AudioError, ClipReport, UnreadableClip
from synthkit.interfaces import Clip, Dataset


def middle(seconds: float, dataset: Dataset, clip: Clip) -> Audio | ClipReport:
    """The middle of a clip, its channels mixed to one, or why there is none."""
    try:
        sound = dataset.open(clip).mono()
    except UnreadableClip as error:
        return ClipReport(id=clip.id, code=error.code, reason=error.reason, file=clip.path or "")
    except (AudioError, OSError) as error:
        return ClipReport(id=clip.id, code="unreadable", reason=str(error), file=clip.path or "")
    wanted = min(round(seconds * sound.sample_rate), sound.frames)
    crop = sound.crop((sound.frames - wanted) // 2, wanted)
    if not crop.frames:
        return ClipReport(id=clip.id, code="empty", reason="it has no samples", file=clip.path or "")
    if not crop.peak:
        reason = f"every sample of the {crop.seconds:.2f} s in its middle is zero"
        return ClipReport(id=clip.id, code="silent", reason=reason, file=clip.path or "")
    return crop
