"""`synthkit generate RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit.errors import RunError

if TYPE_CHECKING:
    from synthkit._run.folder import RunFolder
    from synthkit._stages.asking import Item, Real
    from synthkit._stages.generate import Source, Voice
    from synthkit.interfaces import GenerativeModel

CLIP = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("generate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--label", "labels", multiple=True, help="What to generate; may be repeated.  [default: every label in turn]"
)
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Length of each clip.",
)
@click.option("--count", default=1, show_default=True, type=click.IntRange(min=1), help="Number of clips.")
@click.option(
    "--seed", default=0, show_default=True, help="Clip i gets the seed SEED + i; the same seed gives the same clip."
)
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Lower is less varied.",
)
@click.option("--to-label", metavar="LABEL", help="Clips on the way from --label to this one, all of the same seed.")
@click.option("--to-seed", type=int, help="Clips on the way from --seed to this one.")
@click.option("--continue", "goes_on", type=CLIP, help="Go on from the beginning of this recording.")
@click.option(
    "--keep",
    "keep_seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="With --continue: seconds of its beginning; --seconds counts them.",
)
@click.option("--like", type=CLIP, help="Follow this recording in what the model was trained to follow.")
@click.option("--text", "texts", multiple=True, help="What is said; may be repeated.")
@click.option(
    "--batch",
    default=16,
    show_default=True,
    type=click.IntRange(min=1),
    help="Clips made at once, as memory allows; they are the same whatever it is.",
)
@click.option(
    "--vocoder",
    "vocoders",
    multiple=True,
    metavar="RUN|NAME",
    help="The vocoder that makes the sound; may be repeated.  [default: the run's own, else one that needs no training]",
)
@click.option("--device", default="auto", show_default=True)
@click.option(
    "-o",
    "--output",
    default=Path("generated"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the wav files.",
)
@click.pass_obj
def command(
    context: Context,
    run: Path,
    labels: tuple[str, ...],
    seconds: float,
    count: int,
    seed: int,
    temperature: float,
    to_label: str | None,
    to_seed: int | None,
    goes_on: Path | None,
    keep_seconds: float,
    like: Path | None,
    texts: tuple[str, ...],
    batch: int,
    vocoders: tuple[str, ...],
    device: str,
    output: Path,
) -> None:
    """Make new clips with the model of RUN and write them as wav files, which say how they were made."""
    from synthkit._recipe.from_run import recipe_name
    from synthkit._run.device import pick_device
    from synthkit._run.folder import RunFolder
    from synthkit._stages.asking import Wish, new_items
    from synthkit._stages.generate import Source, find_voices
    from synthkit._stages.loading import load_for_use
    from synthkit.interfaces import GenerativeModel

    folder = RunFolder(run).require()
    checkpoint = _checkpoint(context, folder)
    model, meta = load_for_use(checkpoint, context.catalog, pick_device(device), say=context.reporter.warn)
    assert isinstance(model, GenerativeModel)
    voices = find_voices(vocoders, folder, model, context.catalog, say=context.reporter.warn)
    wish = Wish(
        seconds=seconds,
        seeds=tuple(seed + number for number in range(count)),
        labels=labels,
        temperature=temperature,
        texts=texts,
        to_label=to_label,
        to_seed=to_seed,
        goes_on=_real(goes_on, model, seconds),
        keep_seconds=keep_seconds,
        like=_real(like, model, seconds),
        batch=batch,
    )
    items = new_items(model, wish, str(meta.get("licence", "")), context.reporter)
    source = Source(recipe=recipe_name(folder), run=folder.path.resolve().name, model=str(meta["component"]))
    output.mkdir(parents=True, exist_ok=True)
    for item in items:
        for voice in voices:
            _write(context, item, voice, source, output, name_voice=len(voices) > 1)


def _checkpoint(context: Context, folder: RunFolder) -> Path:
    from synthkit._run.damage import best_good

    checkpoint = best_good(folder, "model", context.reporter.warn)
    if checkpoint is None:
        trained = ", ".join(folder.parts()) or "nothing"
        raise RunError(
            f"{str(folder.path)!r} has no model to generate with (it has trained: {trained}); a vocoder run is used by "
            "`synthkit vocode`"
        )
    return checkpoint


def _real(file: Path | None, model: GenerativeModel, seconds: float) -> tuple[Real, ...]:
    from synthkit._stages.asking import real_clip
    from synthkit.audio import read

    return () if file is None else (real_clip(file.name, read(file), model.spec, seconds),)


def _write(context: Context, item: Item, voice: Voice, source: Source, output: Path, *, name_voice: bool) -> None:
    from synthkit._stages.generate import metadata, safe_name, speak

    words = [item.label or "clip", item.id.removeprefix("seed-"), *([voice.name] if name_voice else [])]
    file = output / f"{safe_name('-'.join(words))}.wav"
    clipped = speak(voice.vocoder, item).write(file, metadata=metadata(item, voice.name, source))
    context.console.print(str(file), soft_wrap=True, markup=False)
    if clipped:
        context.reporter.warn(f"{file.name}: {clipped} samples were too loud and are clipped")
