"""Laws of what a plugin declares: its hooks, its offers, and that reading them costs nothing."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from types import ModuleType

import click
import pluggy

from synthkit import hookspecs
from synthkit.config import Config
from synthkit.errors import PluginError
from synthkit.interfaces import Command, Offer
from synthkit.offers import COMPONENT_BASES, check_commands, check_offers, config_base, import_class, import_target
from synthkit.testing.check import BrokenLaw, Check, checks, expect
from synthkit.testing.config import check_documented

HEAVY = ("torch", "torchaudio", "librosa", "matplotlib", "scipy", "numba", "soundfile")
"""What is too slow to import for a table of names."""

_PROBE = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""


def declaration(plugin: str | ModuleType) -> list[Check]:
    """One check for each law of a plugin's declaration.

    Args:
        plugin: the module that the entry point names, or its name.

    >>> [str(check) for check in declaration("synthkit.builtin.plugin")]
    ['plugin-hooks', 'plugin-lightness', 'plugin-settings', 'plugin-code', 'plugin-commands']
    """
    name = plugin if isinstance(plugin, str) else plugin.__name__
    return checks("plugin", LAWS, name)


def hooks(plugin: str) -> None:
    """Every marked function is a hook that exists, and the declaring ones return valid lists."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(importlib.import_module(plugin))
    try:
        manager.check_pending()
        check_offers(_offers(plugin))
        check_commands(_commands(plugin))
    except (pluggy.PluginValidationError, PluginError) as error:
        raise BrokenLaw(str(error)) from error
    expect(bool(manager.get_hookcallers(manager.get_plugins().pop())), "none is marked with @synthkit.hookimpl")


def lightness(plugin: str) -> None:
    """Importing the plugin and the settings of what it offers imports neither torch nor the components' code."""
    offers = _offers(plugin)
    settings = {_module(offer.config) for offer in offers}
    run = [sys.executable, "-c", _PROBE, plugin, *sorted(settings)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"a new interpreter cannot import it: {done.stderr.strip()[-300:]}")
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    heavy = sorted(imported.intersection(HEAVY))
    expect(not heavy, f"it imports {', '.join(heavy)}")
    code = {_module(offer.build) for offer in offers} - settings - {plugin}
    early = sorted(imported & code)
    expect(not early, f"it imports {', '.join(early)}")


def settings(plugin: str) -> None:
    """The settings of every offer are a documented class of the kind's base."""
    for offer in _offers(plugin):
        found = _import_class(offer.config, config_base(offer.kind))
        assert issubclass(found, Config)
        check_documented(found, found.__name__)


def code(plugin: str) -> None:
    """The code of every offer is a complete, documented class of the kind's base.

    Code that needs an extra which is not installed is passed over.
    """
    for offer in _offers(plugin):
        try:
            found = _import_class(offer.build, COMPONENT_BASES[offer.kind])
        except ImportError as error:
            expect(offer.extra is not None, f"{offer.build} cannot be imported: {error}")
            continue
        expect("__doc__" in vars(found) and bool(found.__doc__), f"{offer.build} has no docstring")


def commands(plugin: str) -> None:
    """Every command is a documented `click.Command`."""
    for command in _commands(plugin):
        found = import_target(command.load)
        if not isinstance(found, click.Command):
            raise BrokenLaw(f"{command.load} is not one")
        expect(bool(inspect.cleandoc(found.help or "")), f"{command.load} has no docstring")


def _offers(plugin: str) -> list[Offer]:
    hook = getattr(importlib.import_module(plugin), "synthkit_components", None)
    return list(hook()) if hook else []


def _commands(plugin: str) -> list[Command]:
    hook = getattr(importlib.import_module(plugin), "synthkit_commands", None)
    return list(hook()) if hook else []


def _module(target: str) -> str:
    return target.partition(":")[0]


def _import_class(target: str, base: type) -> type:
    try:
        return import_class(target, base)
    except PluginError as error:
        raise BrokenLaw(str(error)) from error


LAWS = (hooks, lightness, settings, code, commands)
