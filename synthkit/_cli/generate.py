"""`synthkit generate RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit.errors import RunError

if TYPE_CHECKING:
    from synthkit._run.folder import RunFolder
    from synthkit.interfaces import GenerativeModel, Vocoder


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
@click.option(
    "--vocoder",
    metavar="RUN|NAME",
    help="The vocoder that makes the sound.  [default: the run's own, else one that needs no training]",
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
    vocoder: str | None,
    device: str,
    output: Path,
) -> None:
    """Make new clips with the model of RUN and write them as wav files."""
    from synthkit._run.checkpoint import load_component
    from synthkit._run.damage import best_good
    from synthkit._run.device import pick_device
    from synthkit._run.folder import RunFolder
    from synthkit._stages.generate import choose_labels, metadata, new_items, safe_name, speak
    from synthkit.interfaces import GenerativeModel

    folder = RunFolder(run).require()
    checkpoint = best_good(folder, "model", context.reporter.warn)
    if checkpoint is None:
        trained = ", ".join(folder.parts()) or "nothing"
        raise RunError(
            f"{str(run)!r} has no model to generate with (it has trained: {trained}); a vocoder run is used by `synthkit vocode`"
        )
    where = pick_device(device)
    model, meta = load_component(checkpoint, context.catalog, where)
    assert isinstance(model, GenerativeModel)
    voice = _vocoder(context, folder, vocoder, model)
    voice.to(where)
    items = new_items(
        model,
        choose_labels(model, labels, count),
        tuple(seed + number for number in range(count)),
        seconds,
        temperature,
        str(meta.get("licence", "")),
        context.reporter,
    )
    output.mkdir(parents=True, exist_ok=True)
    for item in items:
        file = output / f"{safe_name(item.label or 'clip')}-{item.seed}.wav"
        clipped = speak(voice, item).write(file, metadata=metadata(item, type(voice).__name__, folder.name))
        context.console.print(str(file), soft_wrap=True, markup=False)
        if clipped:
            context.reporter.warn(f"{file.name}: {clipped} samples were too loud and are clipped")


def _vocoder(context: Context, run: RunFolder, wanted: str | None, model: GenerativeModel) -> Vocoder:
    from synthkit._run.folder import RunFolder
    from synthkit._stages.generate import plain_vocoder
    from synthkit._stages.loading import load_vocoder

    source = run if wanted is None else RunFolder(wanted)
    if source.best("vocoder") is None:
        return plain_vocoder(wanted, model.spec, context.catalog)
    return load_vocoder(source.path, context.catalog, say=context.reporter.warn)
