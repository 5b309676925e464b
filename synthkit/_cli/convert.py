"""`synthkit convert RUN in.wav out.wav`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit._cli.vocode import check_target

if TYPE_CHECKING:
    import numpy as np

    from synthkit._run.reporter import Task
    from synthkit._stages.generate import Voice
    from synthkit.audio import Stream
    from synthkit.interfaces import Converter


@click.command("convert")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.option(
    "--vocoder",
    metavar="RUN|NAME",
    help="The vocoder that makes the sound.  [default: the run's own, else one that needs no training]",
)
@click.option(
    "--strength", default=1.0, show_default=True, type=click.FloatRange(0, 1), help="0 leaves the sound as it is."
)
@click.option("--seed", default=0, show_default=True, help="For a converter or vocoder that draws random numbers.")
@click.option("--device", default="auto", show_default=True)
@click.pass_obj
def command(
    context: Context,
    run: Path,
    source: Path,
    target: Path,
    vocoder: str | None,
    strength: float,
    seed: int,
    device: str,
) -> None:
    """Turn the sound INPUT into another kind of sound, OUTPUT, with the converter of RUN (a run or checkpoint folder).

    INPUT is any sound file; OUTPUT ends in .wav, .flac, .ogg or .aiff and is replaced where it exists. Channels and length are
    kept, and a sound of any length needs little memory.
    """
    check_target(source, target)
    from synthkit._run.device import pick_device
    from synthkit._run.folder import RunFolder
    from synthkit._stages.conversion import convert_stream
    from synthkit._stages.generate import find_voices
    from synthkit._stages.loading import find_checkpoint, load_for_use
    from synthkit.audio import stream, write_blocks
    from synthkit.interfaces import Converter

    say = context.reporter.warn
    checkpoint = find_checkpoint(run, "converter", say)
    converter, meta = load_for_use(checkpoint, context.catalog, pick_device(device), say=say)
    assert isinstance(converter, Converter)
    voice = find_voices([vocoder] if vocoder else [], RunFolder(run), converter, context.catalog, say=say)[0]
    facts = _facts(str(meta["component"]), converter, voice, strength, source, run)
    rate = voice.vocoder.spec.sample_rate
    with stream(source) as sound, context.reporter.task("convert", sound.expected or 0) as task:
        blocks = convert_stream(converter, voice.vocoder, sound, strength=strength, seed=seed)
        frames, clipped = write_blocks(target, rate, _shown(blocks, sound, task), metadata=facts)
    if sound.note:
        say(f"{source}: {sound.note}")
    channels = f"{sound.channels} channel{'s' if sound.channels > 1 else ''}"
    text = f"{target}: {frames / rate:.2f} s, {channels}, {rate} Hz, {clipped} samples clipped"
    context.console.print(text, soft_wrap=True, markup=False)


def _facts(name: str, converter: Converter, voice: Voice, strength: float, source: Path, run: Path) -> dict[str, str]:
    """What the file says of itself: what it was made of, and how."""
    from synthkit import __version__

    comment = (
        f"{name} and {voice.name}, {converter.source} to {converter.target}, strength {strength:g}, from {source.name}, "
        f"run {run.expanduser().resolve().name}"
    )
    return {"title": f"{source.stem} as {converter.target}", "comment": comment, "software": f"synthkit {__version__}"}


def _shown(blocks: Iterator[np.ndarray], sound: Stream, task: Task) -> Iterator[np.ndarray]:
    """The blocks, with how much of the sound has been read."""
    for block in blocks:
        task.update(sound.frames)
        yield block
