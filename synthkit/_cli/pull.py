"""`synthkit pull URL|NAME`."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from synthkit._cli.context import Context
from synthkit.errors import ConfigError, UnknownName, nearest
from synthkit.foreign import Published


@click.command("pull")
@click.argument("what", metavar="URL|NAME", required=False)
@click.option(
    "--sha256", metavar="HEX", help="What the SHA-256 of the file must be; a NAME whose hash is known needs none."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file.  [default: its name in the address]")
@click.pass_obj
def command(context: Context, what: str | None, sha256: str | None, output: Path | None) -> None:
    """Download a checkpoint and check that it is the one that was meant. Without URL or NAME: list the names.

    A download that broke off goes on where it was when the same command is given again.
    """
    from synthkit._stages.prepare import showing
    from synthkit._stages.pulling import pull

    if what is None:
        for it in _published(context):
            _say(
                context, f"{it.name}: {it.summary}{'' if it.sha256 or it.git_blob else ' Needs --sha256.'}\n  {it.url}"
            )
        return
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ConfigError(f"--sha256 {sha256}: a SHA-256 has 64 hexadecimal digits")
    wanted = _wanted(context, what, sha256)
    target = output or Path(unquote(urlsplit(wanted.url).path).rsplit("/", 1)[-1] or wanted.name)
    with showing(context.reporter, "pull") as progress:
        pull(wanted, target, progress)
    _say(context, f"{target}: {target.stat().st_size / 1e6:,.1f} MB, as expected")


def _published(context: Context) -> tuple[Published, ...]:
    from synthkit._stages.pulling import published

    return published(context.catalog, context.reporter.warn)


def _wanted(context: Context, what: str, sha256: str | None) -> Published:
    """The file that is meant, with what it is known by."""
    if "://" in what:
        if sha256 is None:
            raise ConfigError(
                f"--sha256 is missing: without it nobody can say whether what {what!r} gives is what you mean"
            )
        return Published(name="checkpoint", url=what, summary="", sha256=sha256)
    known = {it.name: it for it in _published(context)}
    if what not in known:
        raise UnknownName(
            f"{what!r} is neither an address (https://...) nor the name of a published file; {nearest(what, known)}"
        )
    named = known[what]
    if sha256 is None and not (named.sha256 or named.git_blob):
        raise ConfigError(f"--sha256 is missing: nobody has published the hash of {what!r} ({named.url})")
    return Published(
        name=named.name, url=named.url, summary=named.summary, sha256=sha256 or named.sha256, git_blob=named.git_blob
    )


def _say(context: Context, text: str) -> None:
    context.console.print(text, soft_wrap=True, markup=False)
