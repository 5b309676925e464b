"""Plugins at the command line: broken ones disturb nothing, and are shown with the reason."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = "from synthkit.hookspecs import hookimpl\nfrom synthkit.interfaces import Command, Offer\n"
OFFER = "Offer(kind='vocoder', name='hum', build='{0}_code:Hum', config='{0}_code:HumConfig', summary='Hums a bit [or two].')"
CODE = """
from synthkit.config import PartConfig

class HumConfig(PartConfig):
    \"\"\"Settings.\"\"\"
    pitch: float = 100.0
    \"\"\"How high, Hz.\"\"\"
"""


def plugin(body: str) -> str:
    return f"{HEAD}\n@hookimpl\ndef synthkit_components():\n    {body}\n"


def good(name: str) -> dict[str, str]:
    return {f"{name}_plugin": plugin(f"return [{OFFER.format(name)}]"), f"{name}_code": CODE}


Cli = Callable[..., subprocess.CompletedProcess[str]]
Fake = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, fake_distribution: Fake) -> Callable[..., str]:
    """Puts a distribution with one plugin into a folder; returns that folder for `PYTHONPATH`."""

    def put(name: str, modules: dict[str, str], distribution: str = "") -> str:
        folder = tmp_path / "site"
        module = next(iter(modules))
        fake_distribution(folder, distribution or f"dist-{name}", {name: module}, modules)
        return str(folder)

    return put


def row(output: str, name: str) -> str:
    return next(line for line in output.splitlines() if line.split()[:1] == [name])


BROKEN = {
    "missing import": ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
    "syntax error": ("def f(:", "SyntaxError"),
    "exit at import": ("import sys; sys.exit(0)", "it ends the program: SystemExit: 0"),
    "misspelt hook": (
        plugin("return []").replace("components", "component"),
        "there is no hook 'synthkit_component'; did you mean 'synthkit_components'?",
    ),
    "error half-way": (plugin(f"yield {OFFER.format('bad')}\n    raise OSError('half-way')"), "OSError: half-way"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_disturbs_nothing(case: str, synthkit_cli: Cli, install: Callable[..., str]) -> None:
    text, reason = BROKEN[case]
    path = install("bad", {"bad_plugin": text})
    table = synthkit_cli("plugins", PYTHONPATH=path)
    assert table.returncode == 1
    assert reason in row(table.stdout, "bad")
    assert "dist-bad" in row(table.stdout, "bad")
    assert row(table.stdout, "melgan").endswith("works")
    assert (table.stderr, synthkit_cli("plugins", "melgan", PYTHONPATH=path).returncode) == ("", 0)
    for arguments in (["--help"], ["list"], ["describe", "melgan"], ["check", "quickstart"]):
        done = synthkit_cli(*arguments, PYTHONPATH=path)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    for arguments in (["describe", "hum"], ["hum"], ["check", "quickstart", "--set", "vocoder={use: hum}"]):
        missing = synthkit_cli(*arguments, PYTHONPATH=path)
        assert missing.returncode == 2
        assert "may come from the plugin 'bad', which is broken: " in missing.stderr
        assert reason in missing.stderr
    one = synthkit_cli("plugins", "bad", PYTHONPATH=path)
    assert one.returncode == 1
    assert reason in one.stdout


def test_two_plugins_offer_one_name(synthkit_cli: Cli, install: Callable[..., str], tmp_path: Path) -> None:
    install("beta", good("beta"))
    path = install("alpha", good("alpha"))
    table = synthkit_cli("plugins", PYTHONPATH=path)
    assert table.returncode == 1
    for name in ("alpha", "beta"):
        assert (
            "name clash: the vocoder 'hum' is offered by the plugins alpha and beta; write alpha/hum or beta/hum"
            in row(table.stdout, name)
        )
    listed = synthkit_cli("list", "vocoder", PYTHONPATH=path)
    assert listed.returncode == 0
    owners = [row(listed.stdout, name).split()[-1] for name in ("alpha/hum", "beta/hum", "melgan")]
    assert owners == ["alpha", "beta", "melgan"]
    both = synthkit_cli("describe", "hum", PYTHONPATH=path)
    assert (both.returncode, both.stdout.count("How high, Hz.")) == (0, 2)
    assert synthkit_cli("describe", "beta/hum", PYTHONPATH=path).stdout.count("How high, Hz.") == 1
    unclear = synthkit_cli("check", "quickstart", "--set", "vocoder={use: hum}", PYTHONPATH=path)
    assert unclear.returncode == 2
    assert "alpha/hum" in unclear.stderr
    assert synthkit_cli("check", "quickstart", PYTHONPATH=path).returncode == 0


def test_two_distributions_have_one_plugin_name(synthkit_cli: Cli, install: Callable[..., str]) -> None:
    install("twin", good("one"), distribution="dist-one")
    path = install("twin", good("two"), distribution="dist-two")
    table = synthkit_cli("plugins", PYTHONPATH=path)
    assert table.returncode == 1
    rows = [line for line in table.stdout.splitlines() if line.split()[:1] == ["twin"]]
    assert [line.split()[1] for line in rows] == ["dist-one", "dist-two"]
    assert "the distribution 'dist-one' already has a plugin 'twin'; uninstall one of them" in rows[1]
    assert synthkit_cli("list", PYTHONPATH=path).returncode == 0
    assert synthkit_cli("check", "quickstart", PYTHONPATH=path).returncode == 0


def test_wrong_code_is_found_when_it_is_asked_for(synthkit_cli: Cli, install: Callable[..., str]) -> None:
    path = install("hum", {"hum_plugin": good("hum")["hum_plugin"]})
    assert synthkit_cli("plugins", PYTHONPATH=path).returncode == 0
    assert synthkit_cli("list", PYTHONPATH=path).returncode == 0
    described = synthkit_cli("describe", "hum", PYTHONPATH=path)
    assert described.returncode == 2
    assert described.stderr == (
        "the settings of vocoder 'hum' (plugin 'hum') cannot be imported from 'hum_code': "
        "ModuleNotFoundError: No module named 'hum_code'\n"
    )


def test_a_plugin_in_full(synthkit_cli: Cli, install: Callable[..., str]) -> None:
    watch = "\n@hookimpl\ndef synthkit_stage_started(stage):\n    pass\n"
    modules = good("hum")
    path = install("hum", {"hum_plugin": modules["hum_plugin"] + watch, "hum_code": CODE})
    shown = synthkit_cli("plugins", "hum", PYTHONPATH=path)
    assert shown.returncode == 0
    assert "hum 1.0" in shown.stdout
    assert "from hum_plugin (distribution dist-hum)" in shown.stdout
    assert "watches synthkit_stage_started" in shown.stdout
    assert row(shown.stdout, "vocoder").split()[:2] == ["vocoder", "hum"]
    assert "Hums a bit [or two]." in shown.stdout
    assert synthkit_cli("plugins", "humm", PYTHONPATH=path).returncode == 2


def test_the_set_can_be_restricted(synthkit_cli: Cli) -> None:
    listed = synthkit_cli("list", "vocoder", SYNTHKIT_PLUGINS="griffin_lim")
    assert "griffin-lim" in listed.stdout
    assert "melgan" not in listed.stdout
    wrong = synthkit_cli("plugins", SYNTHKIT_PLUGINS="griffin_lim,melgam")
    assert wrong.returncode == 1
    assert "did you mean 'melgan'?" in row(wrong.stdout, "melgam")


# --- plugin files ---------------------------------------------------------------------------------------------------


def test_a_file_adds_its_components_and_commands(synthkit_cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "my_hum.py"
    text = CODE + plugin(f"return [{OFFER}]").replace("'{0}_code:", "__name__ + ':")
    text += "\nimport click\n\n@click.command()\ndef sing():\n    click.echo('la la la')\n"
    text += "\n@hookimpl\ndef synthkit_commands():\n    return [Command(name='sing', load=__name__ + ':sing', summary='Sings.')]\n"
    file.write_text(text, encoding="utf-8")
    assert "my_hum" in row(synthkit_cli("--plugin", file, "list", "vocoder").stdout, "hum")
    assert "How high, Hz." in synthkit_cli("--plugin", file, "describe", "hum").stdout
    assert synthkit_cli("--plugin", file, "sing").stdout == "la la la\n"
    assert "Sings. (my_hum)" in synthkit_cli("--plugin", file, "--help").stdout
    assert synthkit_cli("sing").returncode == 2


def test_a_file_that_is_not_there(synthkit_cli: Cli) -> None:
    done = synthkit_cli("--plugin", "absent.py", "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert "absent.py' does not exist" in done.stderr


def test_a_broken_file_is_told_and_the_rest_goes_on(synthkit_cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("def f(:", encoding="utf-8")
    done = synthkit_cli("--plugin", file, "list")
    assert done.returncode == 0
    assert "melgan" in done.stdout
    assert f"the plugin file {file} cannot be used: SyntaxError" in done.stderr
    assert synthkit_cli("--plugin", file, "plugins").returncode == 1


# --- commands of plugins --------------------------------------------------------------------------------------------


def commands(name: str, *declared: str) -> dict[str, str]:
    rows = ", ".join(f"Command(name='{it}', load='{name}_code:hello', summary='Greets.')" for it in declared)
    code = f"import click\n\n@click.command()\n@click.argument('who')\ndef hello(who):\n    click.echo('{name} greets ' + who)\n"
    return {
        f"{name}_plugin": f"{HEAD}\n@hookimpl\ndef synthkit_commands():\n    return [{rows}]\n",
        f"{name}_code": code,
    }


def test_commands_of_plugins(synthkit_cli: Cli, install: Callable[..., str]) -> None:
    path = install("alpha", commands("alpha", "hello", "list"))
    assert synthkit_cli("hello", "you", PYTHONPATH=path).stdout == "alpha greets you\n"
    assert "greets" not in synthkit_cli("list", PYTHONPATH=path).stdout  # a plugin replaces no command of the core
    assert synthkit_cli("alpha/list", "you", PYTHONPATH=path).stdout == "alpha greets you\n"
    shown = synthkit_cli("--help", PYTHONPATH=path).stdout
    assert "Greets. (alpha)" in row(shown, "hello")
    assert "Greets. (alpha)" in row(shown, "alpha/list")
    nearest = synthkit_cli("helo", PYTHONPATH=path)
    assert nearest.returncode == 2
    assert "did you mean 'hello'?" in nearest.stderr


def test_two_plugins_have_one_command(synthkit_cli: Cli, install: Callable[..., str]) -> None:
    install("alpha", commands("alpha", "hello"))
    path = install("beta", commands("beta", "hello"))
    assert synthkit_cli("hello", "you", PYTHONPATH=path).returncode == 2
    assert synthkit_cli("beta/hello", "you", PYTHONPATH=path).stdout == "beta greets you\n"
    assert synthkit_cli("plugins", PYTHONPATH=path).returncode == 1


def test_a_command_that_cannot_be_loaded(synthkit_cli: Cli, install: Callable[..., str]) -> None:
    modules = commands("alpha", "hello")
    path = install("alpha", {"alpha_plugin": modules["alpha_plugin"], "alpha_code": "hello = 3"})
    done = synthkit_cli("hello", "you", PYTHONPATH=path)
    assert done.returncode == 2
    assert done.stderr == (
        "the command 'hello' of plugin 'alpha' cannot be used: 'alpha_code:hello' is not a click command\n"
    )


# --- list and describe ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("vocoder", ["griffin-lim", "melgan"]),
        ("vocoders", ["griffin-lim", "melgan"]),
        ("datasets", ["folder", "tones"]),
        ("preset", ["melgan", "hifi-gan", "tacotron"]),
        ("recipes", ["quickstart"]),
    ],
)
def test_list_of_one_kind(kind: str, names: list[str], synthkit_cli: Cli) -> None:
    done = synthkit_cli("list", kind)
    assert done.returncode == 0
    for name in names:
        assert len(row(done.stdout, name)) > len(name) + 10
    assert "log-mel" not in [line.split()[0] for line in done.stdout.splitlines() if line.strip()]


def test_a_kind_without_components_is_said(synthkit_cli: Cli) -> None:
    done = synthkit_cli("list", "vocoder", SYNTHKIT_PLUGINS="builtin")
    assert (done.returncode, done.stdout) == (0, "no plugin offers a vocoder\n")


def test_list_of_an_unknown_kind(synthkit_cli: Cli) -> None:
    done = synthkit_cli("list", "vocodor")
    assert (done.returncode, done.stderr) == (2, "there is no kind 'vocodor'; did you mean 'vocoder'?\n")


def test_describe_shows_everything_of_that_name(synthkit_cli: Cli) -> None:
    done = synthkit_cli("describe", "melgan")
    assert done.returncode == 0
    titles = [line for line in done.stdout.splitlines() if line.startswith(("vocoder ", "objective ", "preset "))]
    assert [title.split()[0] for title in titles] == ["vocoder", "objective", "preset"]
    assert row(done.stdout, "channels").split()[1:6] == ["whole", "number", ">=", "1", "32"]
    assert "critic.scales" in done.stdout  # settings of a nested block
    assert "'hinge', 'least-squares'" in row(done.stdout, "adversarial")
    assert row(done.stdout, "hop_length").split()[1] == "256"
    assert "Distance between frames" in row(done.stdout, "hop_length")


def test_describe_says_how_a_preset_differs_from_its_source(synthkit_cli: Cli) -> None:
    done = synthkit_cli("describe", "melgan-vc")
    assert done.returncode == 0
    assert "  differs: " in done.stdout
    assert "  source: " in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("melgna", "there is no component or preset 'melgna'; did you mean 'melgan'?\n"),
        ("quickstart", "'quickstart' is a recipe, not a component; `synthkit show quickstart` prints it\n"),
    ],
)
def test_describe_of_an_unknown_name(name: str, message: str, synthkit_cli: Cli) -> None:
    done = synthkit_cli("describe", name)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
