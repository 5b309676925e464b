"""`synthkit import FILE --as NAME`."""

from __future__ import annotations

from pathlib import Path

import click

from synthkit._cli.context import Context


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--as", "name", required=True, metavar="NAME", help="The vocoder or model that it is to become, as `melgan`."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/ and FILE's name]"
)
@click.option("--licence", default="", help="Licence of these weights, as its authors state it; it stays with the run.")
@click.pass_obj
def command(context: Context, file: Path, name: str, output: Path | None, licence: str) -> None:
    """Make a run of a checkpoint of another project.

    The file is read without running anything in it. Which project's it is, the plugin of NAME finds out; settings and statistics
    that the project keeps beside it are read too. `vocode`, `export`, `from:` and `synthkit.load` take the run.
    """
    from synthkit._stages.importing import find_importing, read_foreign, write_run

    offered = find_importing(name, context.catalog)
    target = output or Path("runs") / file.stem
    written = write_run(read_foreign(file), offered, context.catalog, target, licence)
    imported, spec = written.imported, written.imported.spec
    _say(context, f"{file.name} is {imported.lineage}: {written.parameters:,} parameters")
    _say(
        context,
        f"features: {spec.n_mels} bands, hop {spec.hop_length}, {spec.sample_rate} Hz, log {spec.log}, framing {spec.framing}",
    )
    for remark in written.remarks:
        _say(context, f"note: {remark}")
    _say(context, f"written to {target}; try `synthkit vocode {target} in.wav out.wav`")


def _say(context: Context, text: str) -> None:
    context.console.print(text, soft_wrap=True, markup=False)
