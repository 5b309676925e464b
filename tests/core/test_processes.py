"""Places among processes, starting and ending them, and who says what when something goes wrong. Real processes, gloo on the CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from synthkit._run.device import pick_device
from synthkit._run.launch import Ending, launch
from synthkit._run.place import Place, find_place
from synthkit._run.processes import Processes, join
from synthkit.errors import ConfigError, ProcessLost, RunError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node7", "MASTER_PORT": "29400"}
SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[11,13-15]",
    "SLURM_JOB_ID": "77",
}


def test_torchrun_tells_the_place_and_goes_before_slurm() -> None:
    place = Place(index=3, count=4, local=1, host="node7", port=29400)
    assert find_place(TORCHRUN) == find_place({**SRUN, **TORCHRUN}) == place
    assert find_place({**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}) is None
    assert find_place({**SRUN, **TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}) is None
    assert find_place({}) is None


def test_srun_tells_the_place() -> None:
    assert find_place(SRUN) == Place(index=3, count=4, local=1, host="gpu11", port=20077)
    own = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"}
    assert find_place({**SRUN, **own}) == Place(index=3, count=4, local=1, host="10.0.0.1", port=4000)
    batch_script = {name: value for name, value in SRUN.items() if "STEP" not in name}
    assert find_place(batch_script) is None
    assert find_place({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}) is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "has no MASTER_ADDR and no MASTER_PORT; start it with"),
        ({**TORCHRUN, "RANK": "one"}, "RANK is 'one', which is not a number"),
        ({**SRUN, "SLURM_PROCID": "-1"}, "SLURM_PROCID is '-1'"),
    ],
)
def test_an_environment_that_is_not_whole_is_said(environment: dict[str, str], message: str) -> None:
    with pytest.raises(RunError, match=message):
        find_place(environment)


def test_shares_are_even_and_cover_the_batch() -> None:
    for count in (1, 2, 3, 5):
        shares = []
        for index in range(count):
            processes = Processes()
            processes.index, processes.count = index, count
            shares.append(processes.rows(16))
        assert [row for rows in shares for row in rows] == list(range(16))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_device_that_several_processes_cannot_share_is_said() -> None:
    with pytest.raises(ConfigError, match="several processes cannot share the device 'meta': use 'auto', 'cuda'"):
        pick_device("meta", local=1)


def test_one_process_alone_needs_no_distribution() -> None:
    code = """
        import sys
        from synthkit._run.processes import join
        with join() as processes:
            assert (processes.count, processes.is_main) == (1, True)
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        ("exit 0", Ending(0)),
        ("exit 2", Ending(2)),
        ("test $RANK = 0 && exit 3; exec sleep 100", Ending(3)),
        (f"test $RANK = 0 && exit {ProcessLost.exit_code}; exit 4", Ending(1, "process 2 of 2 ended with exit code 4")),
        ("test $RANK = 1 && kill -SEGV $$; exec sleep 100", Ending(1, "process 2 of 2 ended with signal 11 (SIGSEGV)")),
        (
            f"exit {ProcessLost.exit_code}",
            Ending(ProcessLost.exit_code, "the 2 processes lost touch with each other"),
        ),
    ],
)
def test_how_processes_end_together(script: str, ending: Ending) -> None:
    assert launch(shell(script), 2, grace=0.2) == ending


def test_none_is_left_not_even_one_that_will_not_go(tmp_path: Path) -> None:
    stubborn = f"echo $$ >> {tmp_path}/pids; trap '' TERM; test $RANK = 1 && exit 9; while :; do sleep 1 & wait; done"
    assert launch(shell(stubborn), 3, grace=0.2) == Ending(1, "process 2 of 3 ended with exit code 9")
    pids = (tmp_path / "pids").read_text(encoding="utf-8").split()
    assert len(pids) == 3
    assert not [pid for pid in pids if alive(int(pid))]


def test_processes_end_with_their_launcher() -> None:
    """It is killed so that it cannot end them."""
    # Each line in one write: both children write to the same pipe.
    child = """
        import os, signal
        from synthkit._run.launch import end_with_launcher
        end_with_launcher()
        os.write(1, b"started\\n")
        signal.sigwait([signal.SIGTERM])
        os.write(1, b"ended\\n")
    """
    parent = """
        import os, signal, sys, threading
        from synthkit._run.launch import launch
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the children inherit it and wait for the signal
        launch([sys.executable, "-c", sys.argv[1]], 2)
    """
    command = [sys.executable, "-c", textwrap.dedent(parent), textwrap.dedent(child)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        assert [launcher.stdout.readline() for _ in range(2)] == ["started\n"] * 2
        launcher.kill()
        assert launcher.stdout.read() == "ended\n" * 2  # read until both have closed it


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_goes_to_all_once() -> None:
    child = "trap 'echo interrupted; exit 130' INT; echo started; while :; do sleep 0.05; done"
    parent = "import sys; from synthkit._run.launch import launch; print(launch(['sh', '-c', sys.argv[1]], 3))"
    command = [sys.executable, "-u", "-c", parent, child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        assert [launcher.stdout.readline() for _ in range(3)] == ["started\n"] * 3
        launcher.send_signal(signal.SIGINT)
        assert launcher.stdout.read() == "interrupted\n" * 3 + "Ending(code=130, lost='')\n"


def test_an_error_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).with_name("trouble.py")
    assert launch([sys.executable, str(script)], 2) == Ending(0)
    heard = capfd.readouterr().out.splitlines()
    assert sorted(heard) == sorted(
        [
            "only_beside_main 0: RunError process 2 of 2: its disk is full",
            "only_beside_main 1: SystemExit 2",
            "in_all 0: RunError the batch is odd",
            "in_all 1: SystemExit 2",
            "in_main_while_others_learn 0: RunError the folder is full",
            "in_main_while_others_learn 1: SystemExit 2",
            "in_main_while_others_wait 0: KeyboardInterrupt ",
            "in_main_while_others_wait 1: SystemExit 130",
            "a_bug_beside_main 0: RunError process 2 of 2: ZeroDivisionError: division by zero",
            "a_bug_beside_main 1: ZeroDivisionError division by zero",
            "no_trouble 0: nothing",
            "no_trouble 1: nothing",
        ]
    )


def test_processes_that_cannot_meet_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TORCHRUN, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "70000"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match="process 4 of 4 could not meet the others at"), join():
        pass
