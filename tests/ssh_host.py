"""A real sshd on loopback that a test starts itself: its own keys and port, nothing of the user's touched."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SSHD = shutil.which("sshd") or next((p for p in ("/usr/sbin/sshd", "/usr/lib/ssh/sshd") if Path(p).exists()), None)
SEPARATION = Path("/run/sshd")  # Debian's sshd, started by root, wants this empty folder


def missing() -> str:
    """Why there can be no sshd here; "" where there can."""
    if SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        return "there is no sshd here (Debian: openssh-server)"
    if os.geteuid() == 0 and not SEPARATION.is_dir() and not os.access(SEPARATION.parent, os.W_OK):
        return f"sshd wants {SEPARATION}"
    return ""


@dataclass
class Host:
    """A running sshd.

    Attributes:
        folder: holds keys, configuration, and bin/ssh, the user's ssh with this configuration.
        port: on 127.0.0.1.
    """

    folder: Path
    port: int

    def place(self, jobs: Path) -> str:
        return f"{getpass.getuser()}@127.0.0.1:{self.port}{jobs}"

    @property
    def path(self) -> str:
        """PATH with our ssh at its front."""
        return f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"


@contextmanager
def ssh_host(folder: Path) -> Iterator[Host]:
    """Start an sshd, which ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "authorized").write_bytes((folder / "user_key.pub").read_bytes())
    public = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized\n"
        "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
    )
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user_key\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known_hosts\n"
        "GlobalKnownHostsFile /dev/null\n"
    )
    (folder / "bin").mkdir()
    program(folder / "bin" / "ssh", f'exec {shutil.which("ssh")} -F {folder}/ssh_config "$@"')
    made = not SEPARATION.is_dir() and os.geteuid() == 0
    if made:
        SEPARATION.mkdir(mode=0o755)
    assert SSHD is not None
    server = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=(folder / "sshd.log").open("wb")
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "sshd.log").read_text()
                assert time.monotonic() < deadline, "sshd does not answer"
                time.sleep(0.05)
        yield Host(folder, port)
    finally:
        server.terminate()
        server.wait()
        if made:
            SEPARATION.rmdir()


def program(path: Path, script: str) -> None:
    """A shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def engine_at(jobs: Path, command: str = "-m ddrep_core") -> Path:
    """A folder for jobs on the "other machine", with this very ddrep as its engine (or a script in its place)."""
    threads = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1"
    program(
        jobs / "engine" / "bin" / "ddrep",
        f"export PYTHONPATH={ROOT} DDREP_CACHE={os.environ.get('DDREP_CACHE', '')} {threads}\n"
        f'exec {sys.executable} {command} "$@"',
    )
    return jobs
