"""Hosts for tests of `ray up`: Linux namespaces on this machine, joined by a bridge of their own.

A host has its own network, processes, host name, /tmp, /run, /dev/shm and home directory; the rest of the file system
is this machine's.  No address of it can be reached from outside, it sees no process of this machine, and the kernel
takes everything away with its first process, even if the test is killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

TOOLS = ("sshd", "ssh", "ssh-keygen", "rsync", "unshare", "nsenter", "setpriv", "ip", "bash")
START_SECONDS = 20.0
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)

# It dies with the process that starts it; and with it, as the first of its namespace, every process of the host.
FIRST_COMMAND = (
    "setpriv", "--pdeathsig=KILL",
    "unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--mount-proc", "--fork", "--kill-child=KILL",
    "bash", "-c",
)  # fmt: skip
# The first process of a host must take in the orphans, which bash does and sshd does not.
FIRST_PROCESS = """
set -e
hostname {name}
{mounts}
mount -t tmpfs tmpfs /run && mkdir /run/sshd
mount -t tmpfs tmpfs /dev/shm
cd {home}
echo ready
{service} &
wait
"""
SSHD_CONFIG = """
HostKey {home}/host_key
AuthorizedKeysFile {home}/.ssh/authorized_keys
AuthenticationMethods publickey
StrictModes no
UsePAM no
PidFile none
"""


@dataclass(frozen=True)
class Host:
    """A host.

    Args:
        name: its host name.
        address: its IPv4 address on the bridge.
        pid: its first process, as this machine numbers it.
        home: its home directory, as this machine sees it.
    """

    name: str
    address: str
    pid: int
    home: Path

    def run(
        self, *command: str, cwd: Path = HOME, variables: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, as a user at its keyboard would; output and errors come back as one text."""
        enter = ["nsenter", f"--target={self.pid}", "--all", f"--wd={cwd}", "--"]
        return subprocess.run(
            [*enter, *command],
            env={"HOME": str(HOME), "PATH": os.environ["PATH"], "USER": "root", **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )


def why_not() -> str | None:
    """Why this machine can make no hosts, or None if it can."""
    if os.getuid() != 0:
        return "namespaces for hosts need root"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_path()) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "name", "bridge0", "type", "bridge"], capture_output=True, text=True
    )
    return None if tried.returncode == 0 else f"no network namespace with a bridge: {tried.stderr.strip()}"


@contextmanager
def hosts(folder: Path, addresses: Mapping[str, str], *, keep: Sequence[Path]) -> Iterator[dict[str, Host]]:
    """Hosts that reach each other over SSH, and nothing else.

    Args:
        folder: a new folder for their home directories and what they write to /tmp.
        addresses: name -> IPv4 address in one /24; the first is where the user sits and runs no SSH server.
        keep: folders of this machine that the hosts see where they would be hidden, in /tmp or the home directory.

    Yields:
        Name -> host.  The first host's ~/.ssh/key opens all others.
    """
    folder.mkdir()
    key = folder / "key"
    _make_key(key)
    with ExitStack() as stack:
        made = {
            name: stack.enter_context(_host(folder / name, name, address, keep, key, user=number == 0))
            for number, (name, address) in enumerate(addresses.items())
        }
        _connect(list(made.values()))
        yield made


@contextmanager
def _host(folder: Path, name: str, address: str, keep: Sequence[Path], key: Path, *, user: bool) -> Iterator[Host]:
    home, temporary = folder / "home", folder / "tmp"
    _furnish(home, key, user=user)
    temporary.mkdir()
    temporary.chmod(0o1777)
    # The folder of the hosts lies in /tmp as a rule, so /tmp is covered last.
    mounts = [*_cover(HOME, home, keep), *_cover(Path("/tmp"), temporary, keep)]
    service = "sleep infinity" if user else f"{shutil.which('sshd', path=_path())} -D -f {HOME}/sshd_config"
    script = FIRST_PROCESS.format(name=name, mounts="\n".join(mounts), home=HOME, service=service)
    process = subprocess.Popen(
        [*FIRST_COMMAND, script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if said != "ready\n":
            raise RuntimeError(f"host {name} did not start: {said}{process.stdout.read()}")
        (pid,) = _children(process)
        yield Host(name=name, address=address, pid=pid, home=home)
    finally:
        # `unshare` ends after its child, and that after all that lived in its namespace.
        for pid in _children(process) or [process.pid]:
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _children(process: subprocess.Popen[str]) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except FileNotFoundError:  # it has ended
        return []


def _furnish(home: Path, key: Path, *, user: bool) -> None:
    ssh = home / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    (home / ".bashrc").touch()
    if user:
        shutil.copy(key, ssh / "key")
        return
    shutil.copy(key.with_suffix(".pub"), ssh / "authorized_keys")
    _make_key(home / "host_key")
    (home / "sshd_config").write_text(SSHD_CONFIG.format(home=HOME))


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _cover(covered: Path, cover: Path, keep: Sequence[Path]) -> Iterator[str]:
    """Mount commands that put `cover` over a folder and leave visible what of it is kept."""
    for path in keep:
        if path.is_relative_to(covered) and not any(path.is_relative_to(other) for other in keep if other != path):
            place = cover / path.relative_to(covered)
            yield f"mkdir -p '{place}' && mount --rbind '{path}' '{place}'"
    yield f"mount --rbind '{cover}' '{covered}'"


def _connect(made: list[Host]) -> None:
    """Join the hosts by a bridge that lies in the network of the first."""
    first = made[0]
    _ip(first, f"link add name bridge0 address 02:00:00:00:00:01 type bridge\naddr add {first.address}/24 dev bridge0")
    for number, host in enumerate(made[1:]):
        _ip(first, f"link add name port{number} type veth peer name eth0 netns {host.pid}")
        _ip(first, f"link set port{number} master bridge0\nlink set port{number} up")
        # A way out that leads nowhere: from it programs learn which address is theirs.
        _ip(host, f"addr add {host.address}/24 dev eth0\nlink set eth0 up\nlink set lo up")
        _ip(host, f"route add default via {first.address}")
    _ip(first, "link set bridge0 up\nlink set lo up")
    for host in made[1:]:
        _wait_for_ssh(first, host)


def _ip(host: Host, commands: str) -> None:
    subprocess.run(
        ["nsenter", f"--target={host.pid}", "--net", "ip", "-batch", "-"], input=commands, text=True, check=True
    )


def _wait_for_ssh(first: Host, host: Host) -> None:
    options = ["-i", str(HOME / ".ssh/key"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    deadline = time.monotonic() + START_SECONDS
    while (tried := first.run("ssh", *options, f"root@{host.address}", "true")).returncode != 0:
        if time.monotonic() > deadline:
            raise RuntimeError(f"host {host.name} does not answer SSH: {tried.stdout}")
        time.sleep(0.2)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"
