"""`synthkit new-plugin`: a plugin package to start from, with settings, tests and a README."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

import click

from synthkit import __version__
from synthkit._cli.context import Context
from synthkit.errors import ConfigError, SynthkitError, UnknownName, nearest
from synthkit.offers import noun

TEMPLATES = Path(__file__).resolve().parents[1] / "_templates" / "plugin"
SUFFIX = ".tmpl"

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class _Kind:
    summary: str
    """What the generated component does."""
    recipe: str
    """The lines of a recipe that use it."""


_KINDS = {
    "vocoder": _Kind("Hums the loudest band of each frame.", "vocoder: {use: $name}"),
    "features": _Kind("Log mel features of a spec of its own.", "features: {use: $name}"),
    "model": _Kind("Noise with the spectrum of its label.", "model: {use: $name}\ntrain: {part: model, steps: 1000}"),
    "converter": _Kind(
        "Gives every band the mean and the spread of the target's.",
        "converter: {use: $name, source: falls, target: rises}\ntrain: {part: converter, steps: 1000}",
    ),
    "dataset": _Kind("Sweeps that rise or fall.", "data: {use: $name}"),
    "metric": _Kind("Mean absolute difference of the envelopes.", "report: {metrics: [mel-l1, $name]}"),
    "embedding": _Kind("Mean and deviation of each mel band.", "report: {embedding: $name}"),
    "tracker": _Kind("Numbers in a CSV table.", "trackers: [json-lines, $name]"),
}
_LEARN = ("model", "converter")
"""Kinds whose package has a network and an objective, too."""


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--kind", default="vocoder", show_default=True, metavar="KIND", help=f"What it offers: {', '.join(_KINDS)}."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Folder in which the package's folder is made.  [default: the working folder]",
)
@click.pass_obj
def command(context: Context, name: str, kind: str, output: Path) -> None:
    """Write the package synthkit_NAME to start a plugin from: settings, a component that works, tests, a README.

    An existing folder is never touched.
    """
    fields = _fields(_plain_name(name), _known_kind(kind))
    _check_free(context, fields["name"], fields["plugin"], kind)
    target = output / fields["package"]
    write_package(target, kind, fields)
    click.echo(f"wrote {target}; to go on:")
    click.echo(f'  pip install -e "{target}[dev]"')
    click.echo(f"  pytest {target}")
    click.echo(f"  synthkit plugins {fields['plugin']}")


def write_package(target: Path, kind: str, fields: dict[str, str]) -> None:
    """Write the package of a kind into the new folder `target`, whole or not at all.

    Raises:
        SynthkitError: the folder exists or cannot be written.
    """
    if target.exists():
        raise SynthkitError(f"{str(target)!r} is there already and is not touched; choose another NAME or -o DIR")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-plugin-", dir=target.parent) as temporary:
            whole = Path(temporary) / target.name
            for root in (TEMPLATES / "common", TEMPLATES / kind):
                for file in sorted(root.rglob(f"*{SUFFIX}")):
                    path = whole / _renamed(file.relative_to(root), fields)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(Template(file.read_text("utf-8")).substitute(fields), "utf-8")
            shutil.move(whole, target)
    except OSError as error:
        raise SynthkitError(f"{str(target)!r} cannot be written: {error.strerror or error}") from error


def _renamed(path: Path, fields: dict[str, str]) -> Path:
    names = {"package": fields["package"], "test_plugin.py": f"test_{fields['plugin']}.py"}
    parts = (*path.parent.parts, path.name.removesuffix(SUFFIX))
    return Path(*(names.get(part, part) for part in parts))


def _plain_name(text: str) -> str:
    name = text.replace("_", "-").removeprefix("synthkit-")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{text!r} cannot be the name of a plugin: write lower-case letters and digits, words joined by hyphens, "
            "a letter first, such as 'my-vocoder'"
        )
    return name


def _known_kind(kind: str) -> str:
    if kind == "objective":
        raise UnknownName("an objective comes with what it trains: write --kind model or --kind converter")
    if kind not in _KINDS:
        raise UnknownName(f"there is no template for the kind {kind!r}; {nearest(kind, _KINDS)}")
    return kind


def _check_free(context: Context, name: str, plugin: str, kind: str) -> None:
    """A name that is taken would be broken, or ambiguous in recipes, as soon as it is installed."""
    catalog = context.catalog
    taken = [
        f"the plugin {it.plugin!r} of {it.distribution or it.origin}" for it in catalog.loaded if it.plugin == plugin
    ]
    taken += [
        f"a {noun(kind)} of the plugin {it.plugin!r}"
        for it in catalog.offers()
        if (it.offer.kind, it.offer.name) == (kind, name)
    ]
    if taken:
        raise ConfigError(f"{name!r} is the name of {taken[0]} already; choose another one")


def _fields(name: str, kind: str) -> dict[str, str]:
    plugin = name.replace("-", "_")
    files = ["network", kind, "objective"] if kind in _LEARN else [kind]
    says = {"network": "the network, torch and nothing else", "objective": f"how the {noun(kind)} learns"}
    fields = {
        "name": name,
        "plugin": plugin,
        "package": f"synthkit_{plugin}",
        "distribution": f"synthkit-{name}",
        "Class": _class_name(name, kind),
        "noun": noun(kind),
        "summary": _KINDS[kind].summary,
        "synthkit": ".".join(__version__.split(".")[:2]),
    }
    rows = [f"| `{fields['package']}/{file}.py` | {says.get(file, f'the {noun(kind)} itself')} |" for file in files]
    return {**fields, "files": "\n".join(rows), "recipe": Template(_KINDS[kind].recipe).substitute(fields)}


def _class_name(name: str, kind: str) -> str:
    """Name and kind, which keeps it apart from whatever the file imports.

    >>> _class_name("my-hum", "vocoder"), _class_name("my-vocoder", "vocoder"), _class_name("vocoder", "vocoder")
    ('MyHumVocoder', 'MyVocoder', 'VocoderVocoder')
    """
    words = "".join(word.capitalize() for word in name.split("-"))
    suffix = kind.capitalize()
    return words if words.endswith(suffix) and words != suffix else words + suffix
