"""`synthkit data sound`: pictures and arrays of an export become sound again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context

if TYPE_CHECKING:
    from synthkit.interfaces import Vocoder
    from synthkit.specs import FeatureSpec


@click.command("sound")
@click.argument("pictures", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option(
    "--vocoder", metavar="RUN|NAME", help="What makes the sound.  [default: the first that needs no training]"
)
@click.option("--seed", default=0, show_default=True, help="For a vocoder that draws random numbers.")
@click.option("--device", default="auto", show_default=True)
@click.pass_obj
def command(context: Context, pictures: Path, output: Path, vocoder: str | None, seed: int, device: str) -> None:
    """Turn every spectrogram below PICTURES back into sound.

    PICTURES is what `synthkit data export` wrote, or any folder with such a spec.json: a picture may be changed or made by another
    program, as long as it has a row for each mel band, the highest on top. OUTPUT/.../NAME.wav carries its licence and credit.
    """  # fmt: skip
    from synthkit._stages.sounding import Exported, sound

    exported = Exported.read(pictures)
    made = _vocoder(context, vocoder, exported.spec, device)
    written = sound(exported, output, made, maker=vocoder or type(made).__name__, seed=seed, reporter=context.reporter)
    click.echo(f"{len(written)} sounds are in {output}")


def _vocoder(context: Context, wanted: str | None, spec: FeatureSpec, device: str) -> Vocoder:
    from synthkit._run.device import pick_device
    from synthkit._stages.generate import plain_vocoder
    from synthkit._stages.loading import load_vocoder

    if wanted is not None and Path(wanted).expanduser().is_dir():
        return load_vocoder(wanted, context.catalog, pick_device(device), say=context.reporter.warn)
    vocoder = plain_vocoder(wanted, spec, context.catalog)
    vocoder.to(pick_device(device))
    return vocoder
