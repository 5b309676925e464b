"""`Catalog`: every component of every plugin that works, by kind and name. Code is imported when it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from synthkit._plugins import WATCHING, Broken, Loaded, declared_but_not_installed, discover, reason_of
from synthkit.errors import ConfigError, PluginError, UnknownName, nearest
from synthkit.interfaces import Command, Kind, Offer
from synthkit.offers import COMPONENT_BASES, config_base, import_class, noun

if TYPE_CHECKING:
    from pydantic import ValidationError

    from synthkit.config import Config


@dataclass(frozen=True, kw_only=True)
class Offered:
    """One component on offer, and who offers it."""

    offer: Offer
    plugin: str
    distribution: str
    """Empty for a plugin file."""
    version: str

    @property
    def full_name(self) -> str:
        """`plugin/name`, which is unique among the components of one kind."""
        return f"{self.plugin}/{self.offer.name}"


class _Block(Protocol):
    @property
    def offered(self) -> Offered: ...


@dataclass(frozen=True, kw_only=True)
class Clash:
    """One name that several plugins give to a component of the same kind, or to a command."""

    kind: str
    """A kind of component, or `command`."""
    name: str
    plugins: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the {self.kind} {self.name!r} is offered by the plugins {' and '.join(self.plugins)}; "
            f"write {' or '.join(f'{plugin}/{self.name}' for plugin in self.plugins)}"
        )


class Catalog:
    """What all working plugins offer, and the rows of those that do not work.

    It pickles as the files it was made with: another process discovers the same plugins again.
    """

    def __init__(self, loaded: Sequence[Loaded], broken: Sequence[Broken] = (), files: Sequence[Path] = ()) -> None:
        self.loaded = tuple(loaded)
        self.broken = tuple(broken)
        self.files = tuple(files)
        self._offered = tuple(
            Offered(offer=offer, plugin=it.plugin, distribution=it.distribution, version=it.version)
            for it in self.loaded
            for offer in it.offers
        )
        self._switched_off: set[str] = set()

    @classmethod
    def discover(cls, files: Sequence[Path] = ()) -> Catalog:
        """Try all installed plugins and the plugin files. Raises `PluginError` where a file does not exist."""
        paths = tuple(Path(path).expanduser().resolve() for path in files)
        loaded, broken = discover(paths)
        return cls(loaded, broken, paths)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).discover, (self.files,)

    def offers(self, kind: Kind | None = None) -> tuple[Offered, ...]:
        """The components of one kind (None: of all), plugin by plugin."""
        return tuple(it for it in self._offered if kind is None or it.offer.kind == kind)

    def commands(self) -> dict[str, tuple[Loaded, Command]]:
        """The plugins' sub-commands by name; where two plugins declare one name, as `plugin/name`."""
        found = [(it, command) for it in self.loaded for command in it.commands]
        count = Counter(command.name for _, command in found)
        return {
            command.name if count[command.name] == 1 else f"{it.plugin}/{command.name}": (it, command)
            for it, command in found
        }

    @property
    def clashes(self) -> tuple[Clash, ...]:
        """Names that more than one plugin gives away."""
        owners: dict[tuple[str, str], list[str]] = {}
        for it in self.loaded:
            for offer in it.offers:
                owners.setdefault((offer.kind, offer.name), []).append(it.plugin)
            for command in it.commands:
                owners.setdefault(("command", command.name), []).append(it.plugin)
        return tuple(
            Clash(kind=kind, name=name, plugins=tuple(plugins))
            for (kind, name), plugins in owners.items()
            if len(plugins) > 1
        )

    def find(self, kind: Kind, name: str) -> Offered:
        """The component that a recipe calls `name`, or `plugin/name`.

        Raises:
            UnknownName: there is none (the message has the nearest name, and the broken plugins it may come from), or
                there are several.
        """
        known = self.offers(kind)
        found = [it for it in known if name in (it.offer.name, it.full_name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownName(str(Clash(kind=kind, name=name, plugins=tuple(it.plugin for it in found))))
        names = [it.full_name for it in known] if "/" in name else [it.offer.name for it in known]
        raise UnknownName(f"there is no {noun(kind)} {name!r}; {nearest(name, names)}{self.suspects(name)}")

    def suspects(self, name: str) -> str:
        """What to add to a message that there is no `name`: the broken plugins it may come from. Empty if there is none."""
        plugin = name.partition("/")[0] if "/" in name else None
        suspects = [row for row in self.broken if row.plugin == plugin] or list(self.broken)
        parts = [f"; it may come from the plugin {row.plugin!r}, which is broken: {row.error}" for row in suspects]
        missing = declared_but_not_installed()
        if missing:
            parts.append(
                f"; pyproject.toml declares the plugins {', '.join(missing)}, which are not installed: "
                "run `pip install -e .` again"
            )
        return "".join(parts)

    def config_class(self, offered: Offered) -> type[Config]:
        """The class of the component's settings. Raises `PluginError` where it cannot be imported or is none."""
        found: type[Config] = self._class(offered, "settings", offered.offer.config, config_base(offered.offer.kind))
        return found

    def component_class(self, offered: Offered) -> type:
        """The class of the component itself. Raises `PluginError` where it cannot be imported or is none."""
        found: type = self._class(offered, "code", offered.offer.build, COMPONENT_BASES[offered.offer.kind])
        return found

    def _class(self, offered: Offered, role: str, target: str, base: type) -> Any:
        what = f"the {role} of {noun(offered.offer.kind)} {offered.offer.name!r} (plugin {offered.plugin!r})"
        try:
            found: Any = import_class(target, base)
            if role == "settings":
                found.model_rebuild()  # `Config` defers it, but what is wrong with the class should show here
            return found
        except PluginError as error:
            raise PluginError(f"{what} cannot be used: {error}") from error
        except (Exception, SystemExit) as error:
            hint = _install_hint(offered) if isinstance(error, ImportError) else ""
            module = target.partition(":")[0]
            raise PluginError(f"{what} cannot be imported from {module!r}: {reason_of(error)}{hint}") from error

    def configure(self, kind: Kind, name: str, settings: Mapping[str, Any]) -> tuple[Offered, Config]:
        """The component of that name and its checked settings, for callers in Python.

        Raises:
            UnknownName: there is no such component.
            PluginError: its settings cannot be imported.
            ConfigError: the settings are wrong; one line for each mistake.
        """
        from pydantic import ValidationError

        offered = self.find(kind, name)
        cls = self.config_class(offered)
        try:
            return offered, cls.model_validate(dict(settings))
        except ValidationError as error:
            raise ConfigError(_sentences(f"{noun(kind)} {name!r}", cls, error)) from error

    def build(self, block_or_offered: _Block | Offered, config: Config, *args: Any) -> Any:
        """The component itself: `Class(config, *args)`; what `args` are for each kind is in `synthkit.interfaces`."""
        offered = block_or_offered if isinstance(block_or_offered, Offered) else block_or_offered.offered
        return self.component_class(offered)(config, *args)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Tell every plugin that watches `hook`. One that raises is logged once and told nothing more."""
        if hook not in WATCHING:
            raise ValueError(f"{hook!r} is not a watching hook; {nearest(hook, WATCHING)}")
        for it in self.loaded:
            if it.plugin in self._switched_off:
                continue
            try:
                getattr(it.manager.hook, hook)(**arguments)
            except (Exception, SystemExit) as error:  # logged; a foreign observer may raise anything
                import logging

                self._switched_off.add(it.plugin)
                text = "the plugin %r failed in %s and is told nothing more: %s"
                log = logging.getLogger("synthkit")
                log.warning(text, it.plugin, hook, reason_of(error))
                log.debug("its traceback", exc_info=error)


def _install_hint(offered: Offered) -> str:
    if not (offered.offer.extra and offered.distribution):
        return ""
    return f"; it needs `pip install '{offered.distribution}[{offered.offer.extra}]'`"


def _sentences(what: str, cls: type[Config], error: ValidationError) -> str:
    lines = []
    for detail in error.errors():
        path = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            known = cls.model_fields if len(detail["loc"]) == 1 else ()
            message = (
                f"there is no such setting; {nearest(str(detail['loc'][-1]), known)}"
                if known
                else "there is no such setting"
            )
        elif detail["type"] == "missing":
            message = "this setting is missing"
        elif "Value error, " not in detail["msg"]:
            message = f"{message[:1].lower()}{message[1:]}, not {detail['input']!r:.80}"
        lines.append(f"{what}: {path}: {message}" if path else f"{what}: {message}")
    return "\n".join(lines)
