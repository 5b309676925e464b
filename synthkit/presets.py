"""Named feature specs: what the published systems compute, as far as it depends on the sound alone.

A preset is in physical units. Where a system also scales by the maximum of each file, clips, or normalises with
statistics of its training set, the preset is the nearest spec without that; `differs` says what was left out and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from synthkit.errors import UnknownName, nearest
from synthkit.specs import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named spec and where it comes from."""

    name: str
    spec: FeatureSpec
    summary: str
    """One line for tables."""
    source: str
    """The code or paper that computes it."""
    differs: str = ""
    """What the source does beyond this spec and why it is left out; empty where the spec is the source's own."""
    aliases: tuple[str, ...] = ()
    """Other names, of systems that compute the same."""


_MELGAN = FeatureSpec(
    sample_rate=22050,
    n_fft=1024,
    hop_length=256,
    n_mels=80,
    mel_scale="slaney",
    norm="slaney",
    power=1,
    log="log10",
    floor=1e-5,
    framing="same",
)
_HIFI_GAN = replace(_MELGAN, f_max=8000.0, magnitude_eps=1e-9, log="ln")
_TORCHAUDIO = FeatureSpec(
    sample_rate=22050,
    n_fft=2048,
    hop_length=864,
    n_mels=256,
    mel_scale="htk",
    norm=None,
    power=2,
    log="none",
    floor=0.0,
    framing="center",
)
_MELNET = FeatureSpec(
    sample_rate=22050,
    n_fft=1536,
    hop_length=256,
    n_mels=256,
    mel_scale="slaney",
    norm="slaney",
    power=2,
    log="db",
    floor=1e-10,
    framing="center",
)
_NETWORK_SCALES = "features stay in physical units and scaling belongs to a network"
_DEEPEST = (
    "The paper states neither the base nor the floor of its logarithm; these are those of "
    "Deepest-Project/MelNet. That code also cuts each file 80 dB below its own maximum, which would make a frame "
    "depend on all others, and maps dB to [0, 1] with clipping (gain 0.0125, offset 0.75, floor 1e-6; it "
    "clips above 20 dB): left out, because " + _NETWORK_SCALES + "."
)

_ALL = (
    Preset(
        name="melgan",
        spec=_MELGAN,
        summary="MelGAN, official: log10 of an 80-band magnitude mel at 22,050 Hz, hop 256.",
        source="descriptinc/melgan-neurips, mel2wav/modules.py",
    ),
    Preset(
        name="hifi-gan",
        spec=_HIFI_GAN,
        summary="HiFi-GAN's input: natural log, 80 bands up to 8 kHz.",
        source="jik876/hifi-gan, meldataset.py",
    ),
    Preset(
        name="hifi-gan-loss",
        spec=replace(_HIFI_GAN, f_max=11025.0),
        summary="HiFi-GAN's mel loss: its input with bands up to half the rate.",
        source="jik876/hifi-gan, meldataset.py (fmax_for_loss)",
    ),
    Preset(
        name="tacotron",
        spec=replace(_MELGAN, f_max=8000.0, log="ln", framing="center"),
        summary="Tacotron 2: natural log, 80 bands up to 8 kHz, centred frames.",
        source="NVIDIA/tacotron2; seungwonpark/melgan, utils/stft.py; NVIDIA/waveglow, config.json",
        differs="seungwonpark/melgan feeds its generator (mel + 5) / 5: left out, because " + _NETWORK_SCALES + ".",
        aliases=("seungwonpark", "waveglow", "tacotron2"),
    ),
    Preset(
        name="parallel-wavegan",
        spec=replace(_MELGAN, f_min=80.0, f_max=7600.0, floor=1e-10, framing="center"),
        summary="Parallel WaveGAN and Multi-band MelGAN: log10, 80 bands from 80 to 7600 Hz, centred frames.",
        source="kan-bayashi/ParallelWaveGAN, all LJSpeech configurations",
        differs="Each band is then normalised by the mean and deviation of the training set, which are no property of a "
        "sound: they belong into the network as buffers. The source lengthens the sound so that N frames go with "
        "N hops; here they go with N - 1, the shortest sound that has N centred frames.",
    ),
    Preset(
        name="cmelgan",
        spec=_TORCHAUDIO,
        summary="cMelGAN: raw linear power in 256 HTK bands, hop 864.",
        source="JacksonKaunismaa/neural-music, cMelGAN/data.py",
    ),
    Preset(
        name="cmelgan-melnet",
        spec=replace(_TORCHAUDIO, hop_length=800, n_mels=180),
        summary="The MelNet of cMelGAN's authors: raw linear power in 180 HTK bands, hop 800.",
        source="JacksonKaunismaa/neural-music, data.py and its notebook",
    ),
    Preset(
        name="melnet-blizzard",
        spec=_MELNET,
        summary="MelNet for Blizzard and MAESTRO: dB of power in 256 bands at 22,050 Hz, hop 256.",
        source="arXiv 1906.01083; Deepest-Project/MelNet, utils/audio.py",
        differs=_DEEPEST,
        aliases=("melnet", "melnet-maestro"),
    ),
    Preset(
        name="melnet-voxceleb",
        spec=replace(_MELNET, sample_rate=16000, n_fft=1080, win_length=1080, hop_length=180, n_mels=180, f_max=8000.0),
        summary="MelNet for VoxCeleb2: dB of power in 180 bands at 16 kHz, hop 180.",
        source="arXiv 1906.01083; Deepest-Project/MelNet, utils/audio.py",
        differs=_DEEPEST,
    ),
    Preset(
        name="melnet-jgarciapueyo",
        spec=replace(_MELNET, mel_scale="htk", norm=None),
        summary="jgarciapueyo's MelNet: dB of power in 256 HTK bands, hop 256.",
        source="jgarciapueyo/MelNet-SpeechGeneration, audio_normalizing.py",
        differs="The source maps dB to [0, 1] and clips (gain 0.01, offset 0.8, floor 1e-8; it clips above 20 dB, which "
        "real music exceeds): left out, because " + _NETWORK_SCALES + ".",
    ),
    Preset(
        name="melnet-jaeyeun97",
        spec=replace(_MELNET, n_fft=2048, win_length=2048, framing="valid"),
        summary="jaeyeun97's MelNet: dB of power in 256 bands, window 2048, frames without padding.",
        source="jaeyeun97/MelNet, melnet/data/dataset.py",
        differs="The source takes dB relative to the maximum of each block, cuts 80 dB below it and maps to [0, 1]: left "
        "out, because the loudness of neighbouring blocks would no longer compare.",
    ),
    Preset(
        name="melnet-24k-32band",
        spec=FeatureSpec(
            sample_rate=24000,
            n_fft=2048,
            hop_length=1280,
            n_mels=32,
            f_min=300.0,
            f_max=8000.0,
            mel_scale="htk",
            norm=None,
            power=1,
            log="log10",
            floor=1e-4,
            framing="center",
        ),
        summary="Starting project 002: log10 of magnitude in 32 HTK bands from 300 Hz to 8 kHz at 24 kHz, hop 1280.",
        source="YuvalBecker/MelNet, making_mel_Spec.py",
        differs="The source takes the logarithm before the mel matrix, of magnitudes divided by the maximum of the file "
        "(floor 1e-4 of it), on triangles whose edges are rounded to FFT bins, at hop 128, and shrinks time "
        "tenfold by a spline: such values are no function of a mel spectrum, depend on the loudest moment of the "
        "file, and cannot be inverted. Here the logarithm comes after the mel matrix, frames are taken at the "
        "effective hop of 1280, and 1e-4 is absolute.",
    ),
    Preset(
        name="melgan-vc",
        spec=replace(
            _TORCHAUDIO,
            sample_rate=16000,
            n_fft=1152,
            win_length=1152,
            hop_length=192,
            n_mels=192,
            f_max=8000.0,
            window_norm=True,
            log="db",
            floor=1e-10,
        ),
        summary="MelGAN-VC: dB of window-normalised power in 192 HTK bands at 16 kHz, hop 192.",
        source="marcoppasini/MelGAN-VC, MelGAN_VC.ipynb",
        differs="The source cuts each utterance 80 dB below its own maximum, which would make a frame depend on all "
        "others, and maps dB to [-1, 1] with clipping (gain 0.02, offset 0.6, floor 1e-8; it clips above 20 dB): "
        "left out, because " + _NETWORK_SCALES + ".",
    ),
    Preset(
        name="spectrogram-gan",
        spec=FeatureSpec(
            sample_rate=22050,
            n_fft=2048,
            hop_length=512,
            n_mels=128,
            power=1,
            log="db",
            gain=2.0,
            floor=1e-5,
            framing="center",
        ),
        summary="Starting project 004: amplitude dB (20 log10) of magnitude in 128 bands, hop 512.",
        source="Logeswaran123/MusicSpectroGAN, preprocess.py",
        differs="The source takes dB relative to the minimum of each file, cuts 80 dB below the maximum, renders a grey "
        "picture with its own colour range and shrinks it to 64 x 64: left out, because loudness and time could "
        "not be recovered. Here dB are relative to a mel value of 1.",
    ),
    Preset(
        name="dcgan-drums",
        spec=replace(
            _TORCHAUDIO, sample_rate=16000, n_fft=1024, win_length=1024, hop_length=512, n_mels=64, f_max=8000.0
        ),
        summary="Starting project 003: raw linear power in 64 HTK bands at 16 kHz, hop 512.",
        source="bishakh17/Music-Generation, notebooks/train.ipynb",
    ),
    Preset(
        name="style-transfer",
        spec=replace(_MELGAN, n_mels=128),
        summary="Starting project 001: MelGAN's features with 128 bands.",
        source="2BytesGoat/wmelonet-melgan_style_transfer, train_decoder.py",
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""All presets by name (not by alias), in the order of the documentation."""

_ALIASES = {alias: preset for preset in _ALL for alias in preset.aliases}


def find_preset(name: str) -> Preset:
    """The preset of this name or alias. Raises `UnknownName` with the nearest name.

    >>> find_preset("waveglow").name
    'tacotron'
    >>> find_preset("melgna")
    Traceback (most recent call last):
    synthkit.errors.UnknownName: there is no preset 'melgna'; did you mean 'melgan'?
    """
    preset = PRESETS.get(name) or _ALIASES.get(name)
    if preset is None:
        raise UnknownName(f"there is no preset {name!r}; {nearest(name, [*PRESETS, *_ALIASES])}")
    return preset
