"""`synthkit vocode RUN|NAME in.wav out.wav`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthkit._cli.context import Context
from synthkit.errors import AudioError, ConfigError, UnknownName

if TYPE_CHECKING:
    from synthkit._cli.vocode_stream import Format, Given, Wanted
    from synthkit.audio import Audio
    from synthkit.interfaces import Vocoder
    from synthkit.specs import FeatureSpec


@click.command("vocode")
@click.argument("vocoder", metavar="RUN|NAME")
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.option(
    "--preset",
    help="For a NAME: the features to go through, at their own rate.  [default: those of melgan, at INPUT's rate]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="For a NAME: a setting of the vocoder (`iterations=32`); may be repeated.",
)
@click.option("--rate", type=click.IntRange(min=1), help="Sample rate of OUTPUT, Hz.  [default: the vocoder's]")
@click.option("--seed", default=0, show_default=True, help="For a vocoder that draws random numbers.")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="fp32", show_default=True, help="fp32, or bf16 or fp16: quicker, less exact.")
@click.option(
    "--stream", "streams", is_flag=True, help="Work on sound as it comes; INPUT and OUTPUT may be - (a pipe)."
)
@click.option(
    "--input",
    "given",
    type=click.Choice(["wav", "s16le", "f32le", "frames"]),
    default="wav",
    show_default=True,
    help="With --stream: what comes from -; `frames` are raw float32 features, frame by frame.",
)
@click.option(
    "--output",
    "wanted",
    type=click.Choice(["wav", "s16le", "f32le"]),
    help="With --stream: what goes out.  [default: wav]",
)
@click.option("--sample-rate", type=click.IntRange(min=1), help="With --stream: rate of raw samples that come in, Hz.")
@click.option("--channels", type=click.IntRange(min=1), default=1, help="With --stream: channels of raw samples.")
@click.option(
    "--chunk",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="With --stream: frames to wait for; fewer are sooner heard, more cost less.",
)
@click.pass_obj
def command(
    context: Context,
    vocoder: str,
    source: Path,
    target: Path,
    preset: str | None,
    settings: tuple[str, ...],
    rate: int | None,
    seed: int,
    device: str,
    precision: str,
    streams: bool,
    given: Given,
    wanted: Wanted | None,
    sample_rate: int | None,
    channels: int,
    chunk: int,
) -> None:
    """Turn the sound INPUT into features and back into the sound OUTPUT.

    The vocoder is the one that RUN (a run or checkpoint folder) has trained, or NAME, one that needs no training;
    `synthkit list vocoder` has them. INPUT is any sound file; OUTPUT ends in .wav, .flac, .ogg or .aiff and is
    replaced where it exists. Channels and length are kept.

    With --stream it can stand in a pipe: `... -f wav - | synthkit vocode RUN - - --stream | ...`.
    """
    choice = Choice(
        name=vocoder, preset=preset, settings=_parse(settings), device=device, precision=precision, seed=seed
    )
    if streams:
        from synthkit._cli.vocode_stream import Format

        if rate is not None:
            raise ConfigError("--rate: a stream has the vocoder's own rate; resample it where it goes")
        form = Format(given=given, wanted=wanted or "wav", sample_rate=sample_rate, channels=channels)
        _stream(context, choice, source, target, form, chunk)
        return
    if "-" in (str(source), str(target)):
        raise ConfigError("- is a pipe, and sound is read from and written to one with --stream only")
    check_target(source, target)
    from synthkit.audio import read

    sound = read(source)
    if sound.note:
        context.reporter.warn(f"{source}: {sound.note}")
    ready = choice.build(context, sound.sample_rate)
    began = time.perf_counter()
    made = _vocode(context, ready, sound, seed)
    elapsed = time.perf_counter() - began
    out = _at_rate(made, rate or made.sample_rate, sound)
    clipped = out.write(target)
    parts = [
        f"{out.seconds:.2f} s",
        f"{out.channels} channel{'s' if out.channels > 1 else ''}",
        f"{out.sample_rate} Hz",
        f"{sound.seconds / elapsed:.1f} times real time",
        f"{clipped} samples clipped",
        _level(out, sound),
    ]
    context.console.print(f"{target}: {', '.join(parts)}", soft_wrap=True, markup=False)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which vocoder, and how it shall work."""

    name: str
    preset: str | None
    settings: dict[str, Any]
    device: str
    precision: str
    seed: int

    def build(self, context: Context, sample_rate: int) -> Vocoder:
        """The vocoder, ready for sound of `sample_rate`."""
        vocoder = _vocoder(context, self.name, sample_rate, self.preset, self.settings, self.device)
        if self.precision not in vocoder.precisions:
            raise ConfigError(
                f"--precision {self.precision}: {self.name} computes in {' or '.join(vocoder.precisions)} only"
            )
        vocoder.precision = self.precision
        return vocoder


def _stream(context: Context, choice: Choice, source: Path, target: Path, form: Format, chunk: int) -> None:
    import torch

    from synthkit._cli.vocode_stream import PIPE, read_frames, read_sound, write_sound
    from synthkit._stages.streaming import frames_stream, vocode_stream
    from synthkit._stages.synthesis import SpecFeatures

    if target != PIPE and form.wanted == "wav":
        check_target(source, target)
    if form.given == "frames":
        vocoder = choice.build(context, form.sample_rate or 22050)
        random = torch.Generator(device=vocoder.device).manual_seed(choice.seed)
        blocks = frames_stream(vocoder, read_frames(source, vocoder), random=random)
        frames, clipped = write_sound(target, form.wanted, vocoder.spec.sample_rate, blocks)
    else:
        with read_sound(source, form) as sound:
            vocoder = choice.build(context, sound.sample_rate)
            random = torch.Generator(device=vocoder.device).manual_seed(choice.seed)
            features = SpecFeatures(vocoder.spec)
            blocks = vocode_stream(vocoder, features, sound, at_least=chunk, random=random)
            frames, clipped = write_sound(target, form.wanted, vocoder.spec.sample_rate, blocks)
    seconds = frames / vocoder.spec.sample_rate
    context.reporter.say(f"{seconds:.2f} s at {vocoder.spec.sample_rate} Hz, {clipped} samples clipped")


def check_target(source: Path, target: Path) -> None:
    """Refuse what would fail after the work is done, or destroy the input."""
    from synthkit.audio import WRITE_SUFFIXES

    if target.suffix.lower() not in WRITE_SUFFIXES:
        raise AudioError(f"cannot write {str(target)!r}: its name must end in one of {', '.join(WRITE_SUFFIXES)}")
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigError(f"{str(target)!r} is the input itself: give the output another name")
    if target.is_dir():
        raise AudioError(f"cannot write {str(target)!r}: it is a folder")
    if not target.absolute().parent.is_dir():
        raise AudioError(f"cannot write {str(target)!r}: the folder {str(target.parent)!r} does not exist")


def _vocoder(
    context: Context, wanted: str, sample_rate: int, preset: str | None, settings: dict[str, Any], device: str
) -> Vocoder:
    from synthkit._run.device import pick_device
    from synthkit._stages.loading import load_vocoder, named_vocoder, require_ready

    where = pick_device(device)
    if Path(wanted).expanduser().is_dir():
        if preset or settings:
            raise ConfigError("--preset and --set are for a vocoder by name: a run knows its features and settings")
        return load_vocoder(wanted, context.catalog, where, say=context.reporter.warn)
    try:
        require_ready(wanted, context.catalog)
    except UnknownName as error:
        raise UnknownName(f"{wanted!r} is neither the folder of a run nor a vocoder: {error}") from error
    vocoder = named_vocoder(wanted, _spec(preset, sample_rate), context.catalog, settings)
    vocoder.to(where)
    return vocoder


def _spec(preset: str | None, sample_rate: int) -> FeatureSpec:
    if preset is None:
        from synthkit._stages.synthesis import spec_at

        return spec_at(sample_rate)
    from synthkit.presets import find_preset

    return find_preset(preset).spec


def _parse(settings: tuple[str, ...]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: a setting is written name=value")
        try:
            parsed[name.strip()] = json.loads(value)
        except ValueError:
            parsed[name.strip()] = value
    return parsed


def _vocode(context: Context, vocoder: Vocoder, sound: Audio, seed: int) -> Audio:
    import torch

    from synthkit._stages.synthesis import SpecFeatures, extract, resynthesise

    features = extract(SpecFeatures(vocoder.spec), sound)
    random = torch.Generator(device=vocoder.device).manual_seed(seed)
    with context.reporter.task("vocode", total=100) as task:
        return resynthesise(
            vocoder, features, random=random, progress=lambda done, total: task.update(100 * done // max(1, total))
        )


def _at_rate(made: Audio, rate: int, sound: Audio) -> Audio:
    """Another rate; at the input's own rate exactly as long as the input, whatever the way there was rounded to."""
    import numpy as np

    from synthkit.audio import Audio

    out = made.resample(rate)
    if rate != sound.sample_rate or out.frames == sound.frames:
        return out
    samples = np.zeros((out.channels, sound.frames), dtype=np.float32)
    count = min(out.frames, sound.frames)
    samples[:, :count] = out.samples[:, :count]
    return Audio(samples, rate)


def _level(made: Audio, sound: Audio) -> str:
    import numpy as np

    levels = [float(np.sqrt(np.mean(np.square(it.samples, dtype=np.float64)))) for it in (made, sound)]
    if not levels[1]:
        return "silence"
    return f"level {20 * np.log10(max(levels[0], 1e-9) / levels[1]):+.1f} dB"
