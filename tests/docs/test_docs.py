"""Every command and snippet in README and docs is executed, so that none can go stale.

- ```python blocks of one page run in order in one process, in an empty folder.
- A ```python or ```yaml block whose first line is a file name, `# hum.py`, is that file in the folder, and is not run itself.
- ```console blocks: lines that begin with `$ ` are run by a shell in that folder; each must succeed unless the line ends in
  `# exits N`. A `synthkit run` without --tiny gets it, because the page's reader has the time and the test has not.
- ```yaml blocks that begin with `recipe:` are checked as recipes.
- ```sh blocks are set-up (make, pip, git); only commands of that kind may stand there. What they do is tested by
  `tests/test_packaging.py` and by the test run itself, which `make test` started.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "recipes" / "README.md"]
SETUP = re.compile(r"^(make|git|cd|python3? -m (venv|pip)|pip|source|\. |py -|\.venv|torchrun|export |#)")
FILE = re.compile(r"^# ([\w-]+\.(?:py|yaml))$", flags=re.MULTILINE)
EXIT = re.compile(r"\s+#\s*exits (\d+)\s*$")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    language, start, lines = "", 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"^\s*```(\S*)\s*$", line)
        if fence is None:
            lines.append(line)
        elif language or start:
            found.append(Block(page, start, language, "\n".join(lines)))
            language, start = "", 0
        else:
            language, start, lines = fence[1] or "text", number, []
    return found


def environment(folder: Path) -> dict[str, str]:
    tools = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "SYNTHKIT_CACHE": str(folder / "cache"),
        "COLUMNS": "160",
    }


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_every_page_is_found() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("```") >= 8
    assert len(PAGES) >= 8


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_have_a_language_that_is_checked(page: Path) -> None:
    known = {"python", "console", "yaml", "sh", "text", "json", "toml", "html", "make"}
    assert [
        f"{name(page)}:{block.line}: {block.language}" for block in blocks(page) if block.language not in known
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_setup_blocks_only_set_up(page: Path) -> None:
    lines = [line.strip() for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    assert [line for line in lines if line and not SETUP.match(line)] == []


def runnable(page: Path) -> bool:
    return any(block.language in ("python", "console") for block in blocks(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name)
def test_snippets_run(page: Path, tmp_path: Path) -> None:
    """Blocks run from top to bottom; consecutive python blocks share one process."""
    script: list[str] = []
    for block in blocks(page):
        if file := FILE.match(block.text):
            (tmp_path / file[1]).write_text(f"{block.text}\n", encoding="utf-8")
        elif block.language == "python":
            script.append(f"# {name(page)}:{block.line}\n{block.text}")
        elif block.language == "console":
            run_script(page, script, tmp_path)
            script = []
            for line in block.text.splitlines():
                if line.startswith("$ "):
                    run_command(block, line.removeprefix("$ "), tmp_path)
    run_script(page, script, tmp_path)


def run_script(page: Path, script: list[str], folder: Path) -> None:
    if not script:
        return
    file = folder / "snippets.py"
    # A real file with a main guard, because the workers of a prepare are spawned.
    body = "\n\n".join(script)
    indented = "\n".join(f"    {line}" if line.strip() else line for line in body.splitlines())
    file.write_text(f"if __name__ == '__main__':\n{indented}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{name(page)}: python snippets failed\n{body}\n{done.stdout}\n{done.stderr}"


def run_command(block: Block, line: str, folder: Path) -> None:
    expected = EXIT.search(line)
    command = EXIT.sub("", line)
    words = shlex.split(command, comments=True)
    if words[:2] == ["synthkit", "run"] and "--tiny" not in words and "|" not in words:
        command = f"{command.split(' #')[0]} --tiny"
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    code = int(expected[1]) if expected else 0
    assert done.returncode == code, f"{name(block.page)}:{block.line}: {command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_recipes_in_pages_are_right(page: Path, tmp_path: Path) -> None:
    from synthkit._catalog import Catalog
    from synthkit._recipe.load import load_recipe

    catalog = Catalog.discover()
    texts = [block.text for block in blocks(page) if block.language == "yaml" and block.text.startswith("recipe:")]
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        assert load_recipe(file, catalog, check_files=False).name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
