"""`synthkit export RUN --onnx FILE --pt2 FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthkit._cli.context import Context
from synthkit.errors import ConfigError

if TYPE_CHECKING:
    from synthkit._stages.portable import Form, Parity
    from synthkit.interfaces import Vocoder


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--onnx", type=click.Path(path_type=Path), metavar="FILE", help="Write an ONNX file, for onnxruntime and others."
)
@click.option("--pt2", type=click.Path(path_type=Path), metavar="FILE", help="Write a file for torch.export.load.")
@click.pass_obj
def command(context: Context, run: Path, onnx: Path | None, pt2: Path | None) -> None:
    """Write the vocoder of RUN as one file that other programs run.

    It maps features [B, M, N] of the run's own spec to samples, for any B and N, and does all that `vocode` does with features:
    both ends, silence, the place of the samples. The spec, the licence and the settings are in its metadata. Each file is compared with
    the run at several lengths before it gets its name.
    """
    if onnx is None and pt2 is None:
        raise ConfigError("say what to write: --onnx FILE, --pt2 FILE, or both")
    vocoder, meta = _vocoder(context, run)
    from synthkit._stages.portable import write_portable

    wanted: dict[Form, Path | None] = {"onnx": onnx, "pt2": pt2}
    targets = {form: target for form, target in wanted.items() if target is not None}
    for form, parities in write_portable(vocoder, meta, targets).items():
        _report(context, targets[form], parities)


def _vocoder(context: Context, run: Path) -> tuple[Vocoder, dict[str, Any]]:
    """The vocoder of a run; a vocoder by name gets as far as being told that it cannot be exported."""
    from synthkit._run.checkpoint import load_component
    from synthkit._stages.loading import find_checkpoint, named_vocoder, require_ready
    from synthkit._stages.synthesis import spec_at
    from synthkit.interfaces import Vocoder

    name = str(run)
    if not run.expanduser().exists() and any(
        name in (it.offer.name, it.full_name) for it in context.catalog.offers("vocoder")
    ):
        require_ready(name, context.catalog)
        offered = context.catalog.find("vocoder", name)
        meta = {"component": offered.offer.name, "plugin": offered.plugin, "version": offered.version}
        return named_vocoder(name, spec_at(22050), context.catalog), meta
    component, meta = load_component(find_checkpoint(run, "vocoder", context.reporter.warn), context.catalog)
    assert isinstance(component, Vocoder)
    return component, meta


def _report(context: Context, target: Path, parities: list[Parity]) -> None:
    from rich.table import Table

    table = Table(title=f"{target.name} beside the run", title_justify="left", box=None)
    for heading in ("items", "frames", "samples", "largest difference"):
        table.add_column(heading, justify="right")
    for it in parities:
        table.add_row(str(it.items), str(it.frames), f"{it.samples:,}", f"{it.error:.1e}")
    context.console.print(table)
    context.console.print(f"{target}: {target.stat().st_size / 1e6:.1f} MB", soft_wrap=True, markup=False)
