"""`synthkit new`: a shipped recipe to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from synthkit._cli.context import Context
from synthkit.errors import SynthkitError, UnknownName, nearest

MODELINE = re.compile(r"^# yaml-language-server:.*\n", flags=re.MULTILINE)


@click.command("new")
@click.argument("name", metavar="SHIPPED")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: SHIPPED.yaml]")
@click.pass_obj
def command(context: Context, name: str, output: Path | None) -> None:
    """Copy the shipped recipe SHIPPED, comments and all, to start from. An existing file is never replaced."""
    from synthkit._recipe.find import shipped_recipes

    shipped = {file.stem: file for file in shipped_recipes()}
    wanted = name.removesuffix(".yaml")
    if wanted not in shipped:
        raise UnknownName(f"there is no shipped recipe {name!r}; {nearest(wanted, shipped)}")
    target = output or Path(f"{wanted}.yaml")
    write_new(target, MODELINE.sub("", shipped[wanted].read_text(encoding="utf-8")))
    click.echo(f"wrote {target}; try: synthkit check {target}")


def write_new(target: Path, text: str) -> None:
    """Write a file that is not there yet. Raises `SynthkitError` where it is, or cannot be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SynthkitError(
            f"{str(target)!r} is there already and is not replaced; name another file with -o"
        ) from error
    except OSError as error:
        raise SynthkitError(f"{str(target)!r} cannot be written: {error.strerror}") from error
