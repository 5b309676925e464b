"""Finding plugins and trying each one alone, so that a broken one is a row in a table and nothing else.

Plugins come from the entry points of group `synthkit`, of every installed distribution, and from files given with
`--plugin`. Each is tried in a `pluggy.PluginManager` of its own: import, register, check the hooks' names, call the
declaring hooks, materialise what they return, check it. Any `Exception` or `SystemExit` on the way makes it a
`Broken` row.

pluggy's own loader is not used: one plugin that raises ends it, and it skips a second distribution's entry point of a
name it has seen without a word. Here the first keeps the name (synthkit's own, then by name of the distribution) and
the second is `Broken`, with the reason.

`SYNTHKIT_PLUGINS=melgan,griffin_lim` restricts the installed plugins to those entry points; a name there that no
distribution has is a `Broken` row. Unset or empty it restricts nothing. Files given with `--plugin` are loaded all the
same.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from synthkit import hookspecs
from synthkit._entry_points import entry_points
from synthkit.errors import PluginError, nearest
from synthkit.hookspecs import PROJECT
from synthkit.interfaces import Command, Offer
from synthkit.offers import check_commands, check_offers, import_target

DECLARING = ("synthkit_components", "synthkit_commands")
"""Hooks that return what a plugin has."""
WATCHING = tuple(name for name in vars(hookspecs) if name.startswith("synthkit_") and name not in DECLARING)
"""Hooks that are told what happens."""

RESTRICT = "SYNTHKIT_PLUGINS"
"""Environment variable that names the entry points to load, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A plugin that cannot be used, and why."""

    plugin: str
    distribution: str
    version: str
    moment: str
    """When it failed: `discovery`, `import`, `hooks`, `components` or `commands`."""
    error: str
    """One sentence, with the type of the exception where there was one."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A plugin that works, and what it declares."""

    plugin: str
    """Name of its entry point, or its file's name without `.py`."""
    distribution: str
    """Name of the installed distribution it is part of; empty for a file."""
    version: str
    origin: str
    """The module, or the path of the file."""
    offers: tuple[Offer, ...]
    commands: tuple[Command, ...]
    manager: pluggy.PluginManager = field(repr=False, compare=False)
    """The manager in which it, and it alone, is registered."""

    @property
    def watches(self) -> tuple[str, ...]:
        """The watching hooks it implements."""
        return tuple(name for name in WATCHING if getattr(self.manager.hook, name).get_hookimpls())


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A place where a plugin is said to be."""

    plugin: str
    distribution: str
    version: str
    origin: str
    load: Callable[[], object] = field(repr=False)


class _Failure(Exception):
    """Why a plugin is broken, and at which moment."""

    def __init__(self, moment: str, reason: str) -> None:
        self.moment, self.reason = moment, reason
        super().__init__(reason)


def discover(files: Sequence[Path] = ()) -> tuple[tuple[Loaded, ...], tuple[Broken, ...]]:
    """Try every installed plugin and every file, in an order that is the same on each call.

    Raises:
        PluginError: where a file does not exist.
    """
    installed, broken = _restrict(_installed())
    loaded: list[Loaded] = []
    first: dict[str, _Source] = {}
    given = [_file_source(path) for path in dict.fromkeys(path.expanduser().resolve() for path in files)]
    for source in (*installed, *given):
        try:
            other = first.setdefault(source.plugin, source)
            if other is not source:
                raise _Failure("discovery", _clash(source, other))
            loaded.append(_try(source))
        except _Failure as failure:
            row = Broken(
                plugin=source.plugin,
                distribution=source.distribution,
                version=source.version,
                moment=failure.moment,
                error=failure.reason,
            )
            broken.append(row)
            if source in given:
                import logging

                logging.getLogger("synthkit").warning(
                    "the plugin file %s cannot be used: %s", source.origin, failure.reason
                )
    return tuple(loaded), tuple(broken)


def declared_but_not_installed() -> tuple[str, ...]:
    """Plugins that the `pyproject.toml` of a checkout declares and the installed metadata lack: it was edited since.

    Reads a file; meant for tables and error messages, not for every start.
    """
    import tomllib

    path = Path(__file__).resolve().parents[1] / "pyproject.toml"
    try:
        declared = tomllib.loads(path.read_text("utf-8"))["project"]["entry-points"][PROJECT]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError):
        return ()
    known = {source.plugin for source in _installed()}
    return tuple(name for name in declared if name not in known)


def reason_of(error: BaseException) -> str:
    """One line that says what `error` was and where it was raised, whatever its message does.

    >>> reason_of(ValueError("first line\\nsecond line"))
    'ValueError: first line second line'
    """
    import traceback

    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the message of a foreign exception is foreign code
        message = "(its message cannot be shown)"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, SyntaxError):
        return text
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not _is_machinery(frame.filename)
    ]
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text


def _is_machinery(filename: str) -> bool:
    path, here = Path(filename), Path(__file__)
    ours = path.parent == here.parent and path.name in (here.name, "_catalog.py", "offers.py")
    return ours or path.parent.name in ("importlib", "metadata", "pluggy")


def _installed() -> list[_Source]:
    sources = [
        _Source(
            plugin=point.name,
            distribution=point.distribution,
            version=point.version,
            origin=point.value,
            load=partial(import_target, point.value),
        )
        for point in entry_points(PROJECT)
    ]
    # The order of folders on disk decides nothing. synthkit comes first, so that nobody takes a shipped plugin's name.
    return sorted(sources, key=lambda it: (it.distribution != PROJECT, it.distribution, it.plugin, it.origin))


def _restrict(installed: list[_Source]) -> tuple[list[_Source], list[Broken]]:
    broken = []
    if not any(source.distribution == PROJECT for source in installed):
        error = (
            "the installed metadata of synthkit name no plugin, so nothing that it ships can be found; "
            "install it again: `pip install -e .` in a checkout"
        )
        broken.append(Broken(plugin=PROJECT, distribution=PROJECT, version="", moment="discovery", error=error))
    wanted = [name.strip() for name in os.environ.get(RESTRICT, "").split(",") if name.strip()]
    if not wanted:
        return installed, broken
    known = {source.plugin for source in installed}
    for name in wanted:
        if name not in known:
            error = f"{RESTRICT} names {name!r}, but no installed distribution has this plugin; {nearest(name, known)}"
            broken.append(Broken(plugin=name, distribution="", version="", moment="discovery", error=error))
    return [source for source in installed if source.plugin in wanted], broken


def _file_source(path: Path) -> _Source:
    if not path.is_file():
        raise PluginError(f"the plugin file {str(path)!r} does not exist")
    return _Source(plugin=path.stem, distribution="", version="", origin=str(path), load=lambda: _load_file(path))


def module_name(path: Path) -> str:
    """Name under which the module of a plugin file is imported, and under which its classes are found again.

    >>> module_name(Path("here/my-vocoder.py"))
    'synthkit_file_my_vocoder'
    """
    return f"{PROJECT}_file_" + re.sub(r"\W", "_", path.stem)


def _load_file(path: Path) -> object:
    import importlib.util

    name = module_name(path)
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file: its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _clash(source: _Source, other: _Source) -> str:
    def owner(it: _Source) -> str:
        return f"the distribution {it.distribution!r}" if it.distribution else f"the file {it.origin}"

    way_out = "uninstall one of them" if source.distribution else "rename the file"
    return f"{owner(other)} already has a plugin {source.plugin!r}; {way_out}"


def _try(source: _Source) -> Loaded:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    with _at("import"):
        implementation = source.load()
    with _at("hooks"):
        manager.register(implementation, source.plugin)
        _check_hooks(manager, implementation)
    with _at("components"):
        offers = _declared(manager, "synthkit_components", Offer)
        check_offers(offers)
    with _at("commands"):
        commands = _declared(manager, "synthkit_commands", Command)
        check_commands(commands)
    return Loaded(
        plugin=source.plugin,
        distribution=source.distribution,
        version=source.version,
        origin=source.origin,
        offers=offers,
        commands=commands,
        manager=manager,
    )


@contextlib.contextmanager
def _at(moment: str) -> Iterator[None]:
    try:
        yield
    except PluginError as wrong:
        raise _Failure(moment, str(wrong)) from wrong
    except SystemExit as error:
        raise _Failure(moment, f"it ends the program: {reason_of(error)}") from error
    except Exception as error:
        raise _Failure(moment, reason_of(error)) from error


def _check_hooks(manager: pluggy.PluginManager, implementation: object) -> None:
    known = (*DECLARING, *WATCHING)
    callers = manager.get_hookcallers(implementation) or []
    for caller in callers:
        if not caller.has_spec() and not all(impl.optionalhook for impl in caller.get_hookimpls()):
            raise PluginError(f"there is no hook {caller.name!r}; {nearest(caller.name, known)}")
    implemented = {caller.name for caller in callers}
    for name in known:
        if name not in implemented and callable(getattr(implementation, name, None)):
            raise PluginError(
                f"the function {name!r} is not marked with @synthkit.hookimpl, so it would never be called"
            )
    if not implemented:
        raise PluginError(f"it implements no hook; mark functions with @synthkit.hookimpl: {', '.join(known)}")


Declared = TypeVar("Declared", Offer, Command)


def _declared(manager: pluggy.PluginManager, hook: str, kind: type[Declared]) -> tuple[Declared, ...]:
    caller = getattr(manager.hook, hook)
    if not caller.get_hookimpls():
        return ()
    results: list[Iterable[Any]] = caller()
    if not results:  # pluggy leaves None out
        raise PluginError(f"{hook} returned None; it must return a list of {kind.__name__}")
    things = tuple(thing for result in results for thing in result)
    for thing in things:
        if not isinstance(thing, kind):
            raise PluginError(f"{hook} must return a list of {kind.__name__}, but it has {thing!r:.80}")
    return things
