"""Which of how many processes this one is, as torchrun, `synthkit run --devices` or SLURM tell it in the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from synthkit.errors import RunError

LAUNCHED = "SYNTHKIT_LAUNCHED"
"""Set for the processes that `synthkit run --devices` starts: it says for them what became of one that died."""

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_SLURM = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NODELIST")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A process among several."""

    index: int
    """Its number, from 0; 0 is the main process."""
    count: int
    """Processes on all machines together."""
    local: int
    """Its number on its own machine: that of its GPU."""
    host: str
    """Machine of the main process."""
    port: int
    """Where the main process (or torchrun) listens there."""
    attempt: int = 0
    """How often torchrun has started the processes again."""


def find_place(environment: Mapping[str, str]) -> Place | None:
    """The place that the environment describes; None for a process alone.

    torchrun's variables go before SLURM's. Of SLURM's only those that `srun` gives a task count: a batch script without `srun`
    runs once, however many tasks its job has room for.

    >>> print(find_place({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}))
    None
    >>> task = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_ID": "1234"}
    >>> place = find_place({**task, "SLURM_STEP_NODELIST": "gpu[07-08]"})
    >>> place.index, place.count, place.local, place.host, place.port
    (5, 8, 1, 'gpu07', 21234)

    Raises:
        RunError: where a variable is missing, or is not a number.
    """
    if _number(environment, "WORLD_SIZE", "1") > 1:
        _require(environment, _TORCHRUN)
        return Place(
            index=_number(environment, "RANK"),
            count=_number(environment, "WORLD_SIZE"),
            local=_number(environment, "LOCAL_RANK"),
            host=environment["MASTER_ADDR"],
            port=_number(environment, "MASTER_PORT"),
            attempt=_number(environment, "TORCHELASTIC_RESTART_COUNT", "0"),
        )
    if "WORLD_SIZE" in environment or "SLURM_STEP_NODELIST" not in environment:
        return None
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))
    if tasks == 1:
        return None
    _require(environment, _SLURM)
    return Place(
        index=_number(environment, "SLURM_PROCID"),
        count=tasks,
        local=_number(environment, "SLURM_LOCALID"),
        host=environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"]),
        port=_number(environment, "MASTER_PORT", str(20000 + _number(environment, "SLURM_JOB_ID", "0") % 20000)),
    )


def first_host(nodes: str) -> str:
    """The first name of a SLURM node list, where the main process runs.

    >>> first_host("login"), first_host("gpu[07-09,12],cpu3"), first_host("rack[1-2]-node[4,6]")
    ('login', 'gpu07', 'rack1-node4')
    """
    inside_brackets = re.sub(r"\[([^],-]+)[^]]*\]", r"\1", nodes)
    return inside_brackets.split(",")[0]


def _require(environment: Mapping[str, str], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in environment]
    if missing:
        raise RunError(
            f"the environment says that this is one of several processes, but has no {' and no '.join(missing)}; "
            "start it with torchrun, with srun, or with `synthkit run --devices N`"
        )


def _number(environment: Mapping[str, str], name: str, otherwise: str = "") -> int:
    text = environment.get(name, otherwise)
    if not text.isdecimal():
        raise RunError(f"the environment variable {name} is {text!r}, which is not a number")
    return int(text)
