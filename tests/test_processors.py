"""How many processors a process takes, and how its threads wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bioseg_cli import processors as module
from bioseg_cli.processors import group_limits, processors, share_processors

V1 = "1:cpu,cpuacct:/job\n2:memory:/job\n0::/\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def member(tmp_path: Path):
    def limits(membership: str, files: dict[str, str]) -> list[float]:
        write(tmp_path / "membership", membership)
        for name, text in files.items():
            write(tmp_path / "groups" / name, text)
        return list(group_limits(tmp_path / "groups", tmp_path / "membership"))

    return limits


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"cpu.max": "max 100000\n"}, []),
        ("0::/slurm/job\n", {"slurm/job/cpu.max": "max 100000\n", "slurm/cpu.max": "400000 100000\n"}, [4.0]),
        # The name that the host gives to the group of a container.
        ("0::/docker/1234\n", {"cpu.max": "200000 100000\n"}, [2.0]),
        (V1, {"cpu/job/cpu.cfs_quota_us": "300000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, [3.0]),
        (V1, {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, []),
        ("", {"cpu.max": "100000 100000\n"}, []),
    ],
)
def test_limits_of_control_groups(member, membership: str, files: dict[str, str], expected: list[float]):
    assert member(membership, files) == expected


def test_no_more_than_the_groups_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    write(tmp_path / "membership", "0::/\n")
    write(tmp_path / "cpu.max", "50000 100000\n")
    monkeypatch.setattr(module, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(module, "CGROUPS", tmp_path)
    assert processors() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process is bound to processors here")
def test_no_more_than_the_process_is_bound_to():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from bioseg_cli.processors import processors; print(processors())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_what_the_environment_says_holds():
    environment = {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "5"}
    share_processors(environment)
    assert environment == {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "5"}


def test_fewer_processors_than_the_machine_has_are_fewer_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "processors", lambda: 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    environment: dict[str, str] = {}
    share_processors(environment)
    assert environment["OMP_NUM_THREADS"] == "3"
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    share_processors(environment := {})
    assert "OMP_NUM_THREADS" not in environment


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP libraries of other systems do not tell")
def test_threads_of_a_command_sleep_while_they_wait(tmp_path: Path):
    environment = {**os.environ, "OMP_DISPLAY_ENV": "true"}
    environment.pop("OMP_WAIT_POLICY", None)
    ended = subprocess.run(
        [sys.executable, "-m", "bioseg_cli", "doctor", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert ended.returncode == 0, ended.stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in ended.stderr
