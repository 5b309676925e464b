"""Runs the command line in forks of a process that has imported everything already, since imports last longer than small runs.

One JSON list of arguments per line in; out, for each, the process's id and, when it has ended, its exit code.

    python forked.py FILE_FOR_ALL_OUTPUT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import rich.live
import rich.progress  # noqa: F401
import torch._dynamo  # noqa: F401 - every optimiser asks for it

import synthkit._data.prepare
import synthkit._stages.generate
import synthkit._stages.pipeline
import synthkit._stages.train  # noqa: F401
from synthkit._cli.main import main


def run(arguments: list[str], output: str) -> None:
    """Be the process that `synthkit ARGUMENTS` would be."""
    with Path(output).open("ab", buffering=0) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.argv = ["synthkit", *arguments]
    code = 1
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def say(number: int) -> None:
    """Tell whoever reads."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(json.loads(line), sys.argv[1])
        say(pid)
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
