"""What the core itself offers, through the same hook as every plugin."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """Log-mel features, two data sets, metrics, an embedding and trackers."""
    return [
        Offer(
            kind="features",
            name="log-mel",
            build="synthkit.builtin.log_mel:LogMel",
            config="synthkit.builtin.config:LogMelConfig",
            summary="Log mel spectrogram in physical units; presets of MelGAN, HiFi-GAN, Tacotron 2 and others.",
        ),
        Offer(
            kind="dataset",
            name="folder",
            build="synthkit.builtin.folder:Folder",
            config="synthkit.builtin.config:FolderConfig",
            summary="Any tree of wav, flac, ogg, mp3, aiff and opus files; sub-folders as labels if asked.",
        ),
        Offer(
            kind="dataset",
            name="tones",
            build="synthkit.builtin.tones:Tones",
            config="synthkit.builtin.config:TonesConfig",
            summary="Procedural, seeded, labelled musical clips; nothing to download.",
        ),
        *(
            Offer(
                kind="metric",
                name=name,
                build=f"synthkit.builtin.metrics:{cls}",
                config=f"synthkit.builtin.config:{config}",
                summary=summary,
            )
            for name, cls, config, summary in (
                ("mel-l1", "MelL1", "MetricConfig", "Mean absolute difference of the log mels."),
                (
                    "multi-stft",
                    "MultiStft",
                    "MetricConfig",
                    "Spectral convergence plus log magnitude difference at three resolutions.",
                ),
                ("mcd", "MelCepstralDistortion", "McdConfig", "Mel cepstral distortion, frame by frame."),
                ("real-time-factor", "RealTimeFactor", "MetricConfig", "Seconds of sound made per second of work."),
                ("level", "Level", "MetricConfig", "Difference in level from the original."),
                ("clipping", "Clipping", "MetricConfig", "Share of samples at full scale."),
                ("silence", "Silence", "MetricConfig", "Share of frames that are silent where the original is not."),
            )
        ),
        Offer(
            kind="embedding",
            name="classifier",
            build="synthkit.builtin.classifier:ClassifierEmbedding",
            config="synthkit.builtin.config:ClassifierConfig",
            summary="What a small network sees that learns to tell the training clips' labels apart.",
        ),
        Offer(
            kind="tracker",
            name="json-lines",
            build="synthkit.builtin.trackers:JsonLines",
            config="synthkit.builtin.config:TrackerConfig",
            summary="One JSON object per step in metrics.jsonl.",
        ),
        Offer(
            kind="tracker",
            name="tensorboard",
            build="synthkit.builtin.trackers:TensorBoard",
            config="synthkit.builtin.config:TrackerConfig",
            summary="Scalars, sounds and spectrogram pictures for TensorBoard.",
            extra="tensorboard",
        ),
    ]
