"""A SLURM of one node: controller, node and authentication of the tests' own, in one folder, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol", "sinfo", "squeue")
#: Seconds until the node must be idle, and until a daemon must have ended.
LONGEST = 60


class Cluster:
    """A running SLURM. ``environment`` leads the commands of SLURM to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SRUN", "SBATCH"))}
        self.environment = {**kept, "PATH": search_path(), "SLURM_CONF": str(self.conf)}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start munge, the controller and the node; return when jobs can run."""
        host = socket.gethostname().partition(".")[0]
        ports = free_ports(2)
        key, munge = self.folder / "munge.key", self.folder / "munge.socket"
        key.write_bytes(os.urandom(64))
        key.chmod(0o600)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.conf.write_text(
            f"""\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={munge}
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser=root
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
MpiDefault=none
ReturnToService=2
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmdParameters=config_overrides
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
        )
        files = [f"--{name}-file={self.folder}/munged.{name}" for name in ("pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", f"--socket={munge}", f"--key-file={key}", *files)
        wait_until(munge.exists)
        self._daemon("slurmctld", "-D", "-f", str(self.conf))
        self._daemon("slurmd", "-D", "-f", str(self.conf))
        wait_until(lambda: self.run("sinfo", "--noheader", "--format=%t").stdout.strip() == "idle")

    def _daemon(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.output").open("wb") as output:
            self._daemons.append(
                subprocess.Popen(
                    command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                )
            )

    def configure(self, **settings: str | None) -> None:
        """Change settings of slurm.conf, where None removes one, and let the daemons read it again."""
        lines = [line for line in self.conf.read_text().splitlines() if line.partition("=")[0] not in settings]
        lines += [f"{key}={value}" for key, value in settings.items() if value is not None]
        self.conf.write_text("\n".join(lines) + "\n")
        done = self.run("scontrol", "reconfigure")
        assert done.returncode == 0, done.stderr

    def run(
        self, *command: str, variables: Mapping[str, str] | None = None, timeout: float = LONGEST
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of SLURM, with more variables."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **(variables or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def stop(self) -> None:
        """End all jobs, then the daemons."""
        if self.conf.exists():
            self.run("scancel", "--user=root")
            self.run("scancel", "--user=root", "--signal=KILL", "--full")
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(LONGEST)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def logs(self) -> str:
        """Return the ends of what the daemons printed."""
        return "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in sorted(self.folder.glob("*.output")))


def search_path() -> str:
    """Return PATH with the folder of daemons, which is not on that of every user."""
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin"])


def free_ports(number: int) -> list[int]:
    """Return ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail after ``LONGEST`` seconds."""
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, "SLURM did not get ready"
        time.sleep(0.2)


def why_not() -> str:
    """Return why no SLURM can be started here; empty if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a SLURM of its own needs Linux and root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    return f"not installed: {', '.join(missing)} (make install-programs)" if missing else ""


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A SLURM of one node with two cores, idle. Skipped where it cannot be started."""
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm."))
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    except AssertionError as error:
        raise AssertionError(f"{error}\n{cluster.logs()}") from error
    finally:
        cluster.stop()
        shutil.rmtree(folder)
