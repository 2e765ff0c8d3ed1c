"""The image of a lab node, built once per choice of etcd and found again by its content.

An image's tag is a hash of all that goes into it, so that a second `up` builds nothing and a
changed stand-in is never forgotten. The base is pulled where a registry answers and made with
mmdebstrap where none does. What is inside is written in `compose/node/`.
"""

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import requests

from compose import apt
from compose.errors import ImageError

Say = Callable[[str], None]

HERE = Path(__file__).resolve().parent
NODE = HERE / "node"
DEEPHAVEN = HERE / "deephaven"
STAND_INS = ("bin", "dialect2", "monit")
BASE_SUITE = "bookworm"
BASE_PULLED = "debian:bookworm-slim"
PULL_SECONDS = 10  # without a sign of life from the registry
SUITES = {"3.4": "bookworm", "3.5": "trixie", "testing": "forky"}
BINARIES = ("etcd", "etcdctl", "etcdutl")
ETCD_LABEL = "requorum.etcd"


@dataclass(frozen=True)
class EtcdChoice:
    """Which etcd a lab runs: a Debian suite's, or the binaries in a directory."""

    name: str
    suite: str
    directory: Path | None

    @classmethod
    def parse(cls, text: str) -> "EtcdChoice":
        """`3.4`, `3.5`, `testing` or a directory; raises ImageError that lists the choices."""
        if text in SUITES:
            return cls(text, SUITES[text], None)
        directory = Path(text).expanduser().resolve()
        if not directory.is_dir():
            raise ImageError(
                f"--etcd {text}: expected one of {', '.join(SUITES)} or a directory that holds "
                "etcd, etcdctl and etcdutl"
            )
        for binary in ("etcd", "etcdctl"):
            if not os.access(directory / binary, os.X_OK):
                raise ImageError(
                    f"--etcd {text}: {directory / binary} is missing or not executable; put "
                    "production's etcd, etcdctl and (from 3.5) etcdutl there"
                )
        return cls(str(directory), "", directory)

    def files(self) -> tuple[Path, ...]:
        """The binaries in the directory; none for a suite."""
        if self.directory is None:
            return ()
        return tuple(p for name in BINARIES if (p := self.directory / name).is_file())


def ensure(choice: EtcdChoice, say: Say) -> str:
    """The tag of the node image for `choice`, built first where it is not there."""
    tag = f"requorum-node:{_fingerprint(choice)}"
    with _client(timeout=1800) as client:
        if _exists(client, tag):
            return tag
        base = _ensure_base(client, say)
        say(f"building the node image with etcd {choice.name}")
        _build(client, choice, base, tag)
        _remove_predecessors(client, choice, tag)
    return tag


@contextlib.contextmanager
def _client(timeout: int) -> Iterator[docker.DockerClient]:
    """The engine; its refusals become ImageError."""
    try:
        client = docker.from_env(timeout=timeout)
    except docker.errors.DockerException as error:
        raise ImageError(f"no container engine answers ({error}): python -m compose.engine start") from error
    try:
        yield client
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise ImageError(f"the engine cannot make the node image: {error}") from error
    finally:
        client.close()


def _exists(client: docker.DockerClient, tag: str) -> bool:
    """Whether the engine has the image."""
    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


def _fingerprint(choice: EtcdChoice) -> str:
    """A hash over everything that the image is made of."""
    digest = hashlib.sha256(f"{BASE_SUITE} {choice.suite}".encode())
    trees = [NODE, *(DEEPHAVEN / name for name in STAND_INS)]
    files = [p for tree in trees for p in sorted(tree.rglob("*")) if p.is_file()]
    for path in (*files, *choice.files()):
        name = path.name if path in choice.files() else str(path.relative_to(HERE))
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"\n{name} {content}".encode())
    return digest.hexdigest()[:16]


def _ensure_base(client: docker.DockerClient, say: Say) -> str:
    """The tag of a bookworm base: one made here before, one pulled, or one made now."""
    packages = (NODE / "packages").read_text(encoding="utf-8").split()
    digest = hashlib.sha256(" ".join([BASE_SUITE, *packages]).encode()).hexdigest()[:16]
    tag = f"requorum-base:{digest}"
    if _exists(client, tag):
        return tag
    if _exists(client, BASE_PULLED):
        return BASE_PULLED
    say(f"pulling {BASE_PULLED}")
    refusal = _pull()
    if not refusal:
        return BASE_PULLED
    if not apt.available():
        raise ImageError(
            f"no base image: {BASE_PULLED} cannot be pulled ({refusal}), and it can only be made "
            "here by root on a Debian with apt; let the engine reach a registry, or run as root"
        )
    say("no registry answers, so the base is made with mmdebstrap (about 80 s, once)")
    _bootstrap(client, tag, packages)
    return tag


def _pull() -> str:
    """Pull the base; returns "" or why it could not be, after `PULL_SECONDS` of silence."""
    api = docker.APIClient(version="auto", timeout=PULL_SECONDS)
    try:
        for event in api.pull(BASE_PULLED, stream=True, decode=True):
            if "error" in event:
                return str(event["error"])
        return ""
    except (docker.errors.DockerException, requests.RequestException) as error:
        return str(error)
    finally:
        api.close()


def _bootstrap(client: docker.DockerClient, tag: str, packages: list[str]) -> None:
    """Make the base with mmdebstrap from the machine's own apt sources, and import it."""
    if shutil.which("mmdebstrap") is None:
        apt.install(["mmdebstrap"])
    with tempfile.TemporaryDirectory(prefix="requorum-base-") as scratch:
        sources, settings = Path(scratch, "sources.list"), Path(scratch, "apt.conf")
        archive = Path(scratch, "base.tar")
        sources.write_text(apt.sources_of(BASE_SUITE), encoding="utf-8")
        settings.write_text(apt.transfer_settings(), encoding="utf-8")
        apt.run(
            [
                "mmdebstrap",
                "--variant=minbase",
                f"--include={','.join(packages)}",
                f"--aptopt={settings}",
                "--dpkgopt=force-unsafe-io",
                *(f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("man", "doc", "locale")),
                # The machine's proxy may carry a password: it is not for the image.
                '--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap',
                BASE_SUITE,
                str(archive),
                str(sources),
            ],
            what="make the base image with mmdebstrap",
        )
        repository, version = tag.split(":")
        client.api.import_image_from_file(str(archive), repository=repository, tag=version)
    if not _exists(client, tag):
        raise ImageError(f"the engine imported the base image but does not list {tag}")


def _build(client: docker.DockerClient, choice: EtcdChoice, base: str, tag: str) -> None:
    """Build the node image; raises ImageError with the build's last words."""
    with tempfile.TemporaryDirectory(prefix="requorum-etcd-") as scratch:
        context = _context(_etcd_binaries(choice, Path(scratch)))
    try:
        client.images.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            buildargs={"BASE": base, "ETCD_SUITE": choice.suite},
            labels={ETCD_LABEL: choice.name},
            network_mode="host",
            rm=True,
            forcerm=True,
        )
    except docker.errors.BuildError as error:
        words = [str(entry.get("stream", "")).strip() for entry in error.build_log]
        last = " / ".join([word for word in words if word][-4:])
        raise ImageError(f"building the node image failed: {error.msg}: {last}") from error


def _etcd_binaries(choice: EtcdChoice, scratch: Path) -> Iterable[Path]:
    """The binaries to put in: the directory's, or the suite's, fetched where apt is at hand.

    None where this machine has no apt: then the build fetches them with the image's own.
    """
    if choice.directory is not None or not apt.available():
        return choice.files()
    for deb in apt.download(["etcd-server", "etcd-client"], choice.suite, scratch):
        apt.run(
            ["dpkg-deb", "-x", str(deb), str(scratch / "root")],
            what=f"unpack {deb.name}",
        )
    return [p for name in BINARIES if (p := scratch / "root/usr/bin" / name).is_file()]


def _context(binaries: Iterable[Path]) -> io.BytesIO:
    """The build context as a tar: `compose/node`, the stand-ins and the binaries."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(NODE, arcname=".")
        for name in STAND_INS:
            tree = DEEPHAVEN / name
            if not tree.is_dir():
                raise ImageError(f"{tree} is missing: the checkout is incomplete")
            tar.add(tree, arcname=f"deephaven/{name}")
        directory = tarfile.TarInfo("etcd")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(directory)
        for binary in binaries:
            tar.add(binary, arcname=f"etcd/{binary.name}")
    packed.seek(0)
    return packed


def _remove_predecessors(client: docker.DockerClient, choice: EtcdChoice, tag: str) -> None:
    """Remove older images of the same choice; one that a container still uses stays."""
    for image in client.images.list(filters={"label": f"{ETCD_LABEL}={choice.name}"}):
        for older in set(image.tags) - {tag}:
            with contextlib.suppress(docker.errors.APIError):
                client.images.remove(older)
