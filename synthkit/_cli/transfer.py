"""`synthkit transfer RUN content.wav style.wav out.wav`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit._cli.vocode import check_target

if TYPE_CHECKING:
    from synthkit._recipe.model import Part
    from synthkit._stages.transfer.of_run import Ear
    from synthkit._stages.transfer.optimisation import Start, Statistics
    from synthkit.audio import Audio

WEIGHT = click.FloatRange(min=0)


@click.command("transfer")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("content", type=click.Path(path_type=Path))
@click.argument("style", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.option(
    "--part",
    type=click.Choice(["vocoder", "model", "converter"]),
    help="Whose critic, where several parts of RUN learned.  [default: the first's that hears whole sounds]",
)
@click.option("--content-weight", default=1.0, show_default=True, type=WEIGHT, help="More keeps more of CONTENT.")
@click.option("--style-weight", default=10.0, show_default=True, type=WEIGHT, help="More takes more of STYLE.")
@click.option(
    "--statistics",
    default="gram",
    show_default=True,
    type=click.Choice(["gram", "moments"]),
    help="What of a layer is its style: which channels sound together, or how much each does.",
)
@click.option(
    "--start", default="content", show_default=True, type=click.Choice(["content", "noise"]), help="What is changed."
)
@click.option(
    "--steps",
    default=200,
    show_default=True,
    type=click.IntRange(min=1),
    help="Most steps for each ten seconds of each channel; it stops earlier where nothing becomes better.",
)
@click.option(
    "--vocoder",
    metavar="RUN|NAME",
    help="The vocoder that makes the sound, for a critic of features.  [default: the run's own, else one that needs no training]",
)
@click.option("--seed", default=0, show_default=True, help="For --start noise and vocoders that draw random numbers.")
@click.option("--device", default="auto", show_default=True)
@click.pass_obj
def command(
    context: Context,
    run: Path,
    content: Path,
    style: Path,
    target: Path,
    part: Part | None,
    content_weight: float,
    style_weight: float,
    statistics: Statistics,
    start: Start,
    steps: int,
    vocoder: str | None,
    seed: int,
    device: str,
) -> None:
    """Change the sound CONTENT into OUTPUT until the trained critic of RUN hears the style of the sound STYLE in it.

    Nothing has to be trained on the two: any run will do that learned against a critic of whole sounds, such as that of a MelGAN or a
    converter. OUTPUT is as long as CONTENT, with as many channels; it ends in .wav, .flac, .ogg or .aiff and is replaced where it exists.
    """
    for source in (content, style):
        check_target(source, target)
    from synthkit._run.device import pick_device
    from synthkit._stages.transfer.of_run import load_ear, transfer_sound
    from synthkit._stages.transfer.optimisation import TransferSettings

    settings = TransferSettings(
        content_weight=content_weight, style_weight=style_weight, statistics=statistics, start=start, steps=steps
    )
    sound, like = _read(context, content), _read(context, style)
    ear = load_ear(run, part, context.catalog, pick_device(device), vocoder=vocoder, say=context.reporter.warn)
    with context.reporter.task("transfer", total=1000) as task:
        done = transfer_sound(
            ear, sound, like, settings, seed=seed, progress=lambda step, all: task.update(1000 * step // all)
        )
    clipped = done.sound.write(target, metadata=_facts(ear, content, style, settings.style_weight, run))
    made = done.sound
    parts = [
        f"{made.seconds:.2f} s",
        f"{made.channels} channel{'s' if made.channels > 1 else ''}",
        f"{made.sample_rate} Hz",
        f"loss {done.before:.3g} to {done.after:.3g} in {done.steps} steps",
        f"{clipped} samples clipped",
    ]
    context.console.print(f"{target}: {', '.join(parts)}", soft_wrap=True, markup=False)
    if not done.settled:
        context.reporter.warn(f"it was still becoming better after {steps} steps: more --steps may go further")


def _read(context: Context, file: Path) -> Audio:
    from synthkit.audio import read

    sound = read(file)
    if sound.note:
        context.reporter.warn(f"{file}: {sound.note}")
    return sound


def _facts(ear: Ear, content: Path, style: Path, style_weight: float, run: Path) -> dict[str, str]:
    """What the file says of itself: what it was made of, and how."""
    from synthkit import __version__

    made_by = f"the critic of {ear.name}" + (f" and {ear.voice}" if ear.voice else "")
    comment = (
        f"{content.name} in the style of {style.name} by {made_by}, style weight {style_weight:g}, "
        f"run {run.expanduser().resolve().name}"
    )
    return {
        "title": f"{content.stem} in the style of {style.stem}",
        "comment": comment,
        "software": f"synthkit {__version__}",
    }
