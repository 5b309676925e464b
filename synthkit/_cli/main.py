"""`synthkit`: one command whose sub-commands are imported when they are called, so that help needs neither torch nor librosa."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthkit._cli.context import Context
from synthkit.errors import PluginError, SynthkitError

if TYPE_CHECKING:
    from synthkit.interfaces import Command

_USERS_TO_MEND = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}
"""A disk that is full or a place that cannot be written to: for the user to mend, not a bug."""

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run a recipe: prepare, train, generate, report."),
    "check": ("check", "Check a recipe and list every mistake; nothing runs."),
    "show": ("show", "Print a recipe with every default and override filled in."),
    "new": ("new", "Copy a shipped recipe to start from."),
    "init": ("init", "Measure a folder of audio and write a recipe for it."),
    "list": ("list", "List the components that recipes can name."),
    "describe": ("describe", "Show a component's settings, or a preset's numbers."),
    "plugins": ("plugins", "Show every plugin and whether it works."),
    "schema": ("schema", "Print the JSON Schema of recipes, for editors."),
    "doctor": ("doctor", "Show what is installed, what mismatches, and the command that mends it."),
    "runs": ("runs", "List runs: where each stands, and why it stopped."),
    "compare": ("compare", "Show how runs differ: recipes, curves and scores side by side."),
    "generate": ("generate", "Make new sound with a trained run."),
    "vocode": ("vocode", "Turn a sound into features and back with a vocoder."),
    "convert": ("convert", "Turn one kind of sound into another with a trained run."),
    "transfer": ("transfer", "Give a sound the style of another, as a trained critic hears it."),
    "assemble": ("assemble", "Make one run of several that each trained a part of a model."),
    "import": ("import_", "Make a run of a checkpoint of another project."),
    "pull": ("pull", "Download a published checkpoint, checked by its hash."),
    "export": ("export", "Write a trained vocoder as an ONNX or PyTorch (pt2) file."),
    "evaluate": ("evaluate", "Hold vocoders against each other on real clips, and hear them blind."),
    "data": ("data", "Fetch, verify or measure a data set."),
    "new-plugin": ("new_plugin", "Write a plugin package to start from."),
}
"""Sub-command: (module below `synthkit._cli`, summary)."""


class Group(click.Group):
    """Sub-commands of the core and of plugins, each imported only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(_plugin_commands(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command = importlib.import_module(f"synthkit._cli.{COMMANDS[cmd_name][0]}").command
            assert isinstance(command, click.Command)
            return command
        offered = _plugin_commands(ctx).get(cmd_name)
        return _load_command(*offered) if offered else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])
        foreign = _plugin_commands(ctx)
        if foreign:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(
                    [(name, f"{command.summary} ({plugin})") for name, (plugin, command) in sorted(foreign.items())]
                )

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from synthkit.errors import nearest

            hint = nearest(args[0], self.list_commands(ctx)) + _context(ctx).catalog.suspects(args[0])
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx) from error


def _plugin_commands(ctx: click.Context) -> dict[str, tuple[str, Command]]:
    """Sub-commands of plugins: (plugin, declaration); `plugin/name` where the core or two plugins use the name."""
    return {
        f"{it.plugin}/{name}" if name in COMMANDS else name: (it.plugin, command)
        for name, (it, command) in _context(ctx).catalog.commands().items()
    }


def _context(ctx: click.Context) -> Context:
    if not isinstance(ctx.obj, Context):  # --help is answered before `cli` runs
        ctx.obj = Context(ctx.params.get("plugin_files") or ())
    return ctx.obj


def _load_command(plugin: str, command: Command) -> click.Command:
    from synthkit._plugins import reason_of
    from synthkit.offers import import_target

    what = f"the command {command.name!r} of plugin {plugin!r}"
    try:
        loaded = import_target(command.load)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{what} cannot be loaded: {reason_of(error)}") from error
    if not isinstance(loaded, click.Command):
        raise PluginError(f"{what} cannot be used: {command.load!r} is not a click command")
    return loaded


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--plugin",
    "plugin_files",
    multiple=True,
    is_eager=True,  # before --help, which lists the commands of the file too
    type=click.Path(path_type=Path),
    help="Also load this Python file as a plugin (may be repeated).",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="synthkit", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, plugin_files: tuple[Path, ...], debug: bool) -> None:
    """Train vocoders and generators on your own audio, and turn features back into sound."""
    ctx.obj = Context(plugin_files, debug)


def main() -> None:
    """Entry point of the `synthkit` script."""
    gc.set_threshold(100_000)  # imports make many objects and drop none: looking for garbage after each 700 finds none
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look for them in every distribution
    try:
        _main()
    except SystemExit as leaving:
        if "torch" in sys.modules or not isinstance(leaving.code, int):
            raise
        _leave_at_once(leaving.code)


def _leave_at_once(code: int) -> None:
    """End a command that only looked: taking apart the modules it imported would cost it a tenth of its time."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # whoever read the output has left (`synthkit list | head -1`)
        code = 1
    os._exit(code)


def _main() -> None:
    debug = "--debug" in sys.argv
    try:
        code = cli.main(prog_name="synthkit", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except SynthkitError as error:
        if debug:
            raise
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if debug or error.errno not in _USERS_TO_MEND:
            raise
        name = f"{error.filename!r}: " if error.filename else ""
        click.echo(f"{name}{os.strerror(error.errno)}; make room or give another place, then run again", err=True)
        sys.exit(2)
