"""The container engine under the lab: found, or installed and started where that is possible.

`python -m compose.engine start|stop|status`. Standard library only, since it runs before any
dependency is installed. `stop` ends only an engine that `start` started; one that it found is
somebody else's. What the engine leaves in the network is undone by `compose/engine_traces.py`.
"""

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compose import apt, engine_traces, poll
from compose.errors import EngineError, LabError

RUN_DIR = Path("/run/requorum-engine")
PID_FILE = RUN_DIR / "dockerd.pid"
LOG_FILE = RUN_DIR / "dockerd.log"
BEFORE_FILE = RUN_DIR / "network-before.json"
DEFAULT_SOCKET = "/var/run/docker.sock"
SYSTEMD = Path("/run/systemd/system")
POLICY = Path("/usr/sbin/policy-rc.d")  # Debian's own switch, read by invoke-rc.d
START_SECONDS = 60
STOP_SECONDS = 60
COMPOSE_SUITE = "trixie"  # the first Debian with the v2 plugin; it installs on bookworm's libc


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def version() -> str | None:
    """The version of the engine that answers where the docker SDK will look; None if none."""
    host = os.environ.get("DOCKER_HOST", f"unix://{DEFAULT_SOCKET}")
    if not host.startswith("unix://"):
        return _cli("version", "--format", "{{.Server.Version}}")
    connection = _UnixConnection(host.removeprefix("unix://"))
    try:
        connection.request("GET", "/version")
        answer = json.loads(connection.getresponse().read())
        return str(answer["Version"])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None
    finally:
        connection.close()


def compose_version() -> str | None:
    """The version of the `docker compose` plugin; None where there is none."""
    return _cli("compose", "version", "--short")


def _cli(*arguments: str) -> str | None:
    """What the docker client prints, or None where it is missing or fails."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    return None


def own_pid() -> int | None:
    """The process id of the dockerd that `start` started, if it still runs."""
    return _running(PID_FILE, "dockerd")


def _running(pid_file: Path, name: str) -> int | None:
    """The id in a pid file if that process lives and is called `name`."""
    try:
        pid = int(pid_file.read_text(encoding="utf-8"))
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    ended = fields.get("State", "").startswith("Z")  # nobody may be there to reap it
    return pid if fields.get("Name") == name and not ended else None


def start() -> str:
    """See to it that an engine and the compose plugin are there; a line on how that came about."""
    found = version()
    if found is None:
        _require_root("no container engine answers")
        with _lock():
            line = _start_own() if version() is None else f"engine: found (docker {version()})"
    else:
        line = f"engine: found (docker {found})"
    if compose_version() is None:
        _require_root("the `docker compose` plugin is missing")
        with _lock():
            _install_compose()
    return f"{line}, compose {compose_version()}"


def _require_root(problem: str) -> None:
    """Raise unless this machine can be helped: root on a Debian with apt."""
    if apt.available() or (os.geteuid() == 0 and shutil.which("dockerd")):
        return
    hint = ""
    if context := _cli("context", "inspect", "--format", "{{.Endpoints.docker.Host}}"):
        hint = f" (if one runs at {context}, export DOCKER_HOST={context})"
    raise EngineError(
        f"{problem}{hint}, and it can only be installed here by root on a Debian with apt: "
        "install Docker Engine 20.10 or later with its compose plugin, start it, and run this again"
    )


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One installation or start at a time on this machine."""
    RUN_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (RUN_DIR / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start_own() -> str:
    """Install docker.io where it is missing, and start dockerd; the line to print."""
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        _install_engine()
    if SYSTEMD.is_dir():
        return _start_unit()
    _clear_stale()
    engine_traces.record(BEFORE_FILE)
    with LOG_FILE.open("ab") as log:
        process = subprocess.Popen(
            ["dockerd", f"--pidfile={PID_FILE}", "--log-level=warn"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    running = poll.until(
        lambda: version() or ("" if process.poll() is None else "ended"),
        seconds=START_SECONDS,
        what="dockerd answers",
        why_not=_last_words,
        error=EngineError,
    )
    if running == "ended":
        raise EngineError(f"dockerd ended at once with {process.returncode}: {_last_words()}; its log is {LOG_FILE}")
    return f"engine: started (docker {running}, pid {process.pid}, log {LOG_FILE})"


def _start_unit() -> str:
    """Start the engine where systemd runs; it is then the machine's own and is left running."""
    done = subprocess.run(
        ["systemctl", "start", "docker.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EngineError(
            f"systemctl start docker.service failed ({done.stderr.strip()}); see journalctl -u docker.service"
        )
    running = poll.until(version, seconds=START_SECONDS, what="docker.service answers", error=EngineError)
    return f"engine: started by systemd (docker {running}; `systemctl stop docker` stops it)"


def _install_engine() -> None:
    """Install Debian's engine, with the client where it is a package of its own (from trixie)."""
    apt.run(["apt-get", "update", "-q"], what="refresh the package lists")
    packages = ["docker.io", "iptables", "iproute2"]
    if shutil.which("docker") is None and apt.candidate("docker-cli"):
        packages.append("docker-cli")
    with _no_services():
        apt.install(packages)


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Packages installed inside start no service by an init script: `stop` could not end it."""
    if SYSTEMD.is_dir() or POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _install_compose() -> None:
    """Install the compose plugin from this suite, or from trixie where this one has none."""
    if not apt.candidate("docker-compose").startswith("1."):
        apt.install(["docker-compose"])
    if compose_version() is None:
        with tempfile.TemporaryDirectory(prefix="requorum-apt-") as scratch:
            debs = apt.download(["docker-compose"], COMPOSE_SUITE, Path(scratch))
            apt.run(["dpkg", "-i", *map(str, debs)], what="install docker-compose")
    if compose_version() is None:
        raise EngineError(
            "docker-compose was installed, yet `docker compose version` fails; is another docker "
            f"client first on PATH ({shutil.which('docker')})?"
        )


def _clear_stale() -> None:
    """Remove the pid files of engines that a hard stop left behind; dockerd refuses to start."""
    leftovers = [
        (PID_FILE, "dockerd"),
        (Path("/var/run/docker.pid"), "dockerd"),
        (Path("/var/run/docker/containerd/containerd.pid"), "containerd"),
    ]
    for path, name in leftovers:
        if path.exists() and _running(path, name) is None:
            path.unlink()
    if pid := own_pid():
        raise EngineError(
            f"dockerd (pid {pid}) runs but does not answer at "
            f"{os.environ.get('DOCKER_HOST', DEFAULT_SOCKET)}; see {LOG_FILE}"
        )


def _last_words() -> str:
    """dockerd's last words."""
    with contextlib.suppress(OSError):
        lines = LOG_FILE.read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(lines[-2:]) if lines else "its log is empty"
    return "it left no log"


def stop() -> str:
    """End the dockerd that `start` started, and undo its traces; a line on what was done."""
    pid = own_pid()
    if pid is None:
        found = version()
        if found is None:
            return "engine: none runs"
        return f"engine: docker {found} was not started here, so it is left running"
    os.kill(pid, signal.SIGTERM)
    poll.until(
        lambda: own_pid() is None,
        seconds=STOP_SECONDS,
        what=f"dockerd (pid {pid}) has ended",
        why_not=lambda: f"{_last_words()}; end it by hand: kill {pid}",
        error=EngineError,
    )
    left = engine_traces.remove(BEFORE_FILE)
    shutil.rmtree(RUN_DIR, ignore_errors=True)
    return f"engine: stopped (pid {pid}){'; left behind: ' + left if left else ''}"


def status() -> str:
    """One line on the engine."""
    found = version()
    if found is None:
        return "engine: none answers"
    own = own_pid()
    return f"engine: docker {found}, compose {compose_version() or 'missing'}, " + (
        f"started here (pid {own})" if own else "not started here"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m compose.engine", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status"])
    action = parser.parse_args(arguments).action
    try:
        print({"start": start, "stop": stop, "status": status}[action]())
    except (LabError, PermissionError) as error:
        print(f"engine: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
