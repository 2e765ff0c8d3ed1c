"""Debian packages for the lab from the machine's own apt sources, of its own suite or another.

No archive's address is written anywhere: the machine's sources are reused with the suite's name
rewritten, in temporary files, so that neither its sources nor its package lists change. Standard
library only, since it runs before any dependency is installed.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from compose.errors import LabError

SOURCES = Path("/etc/apt")
NONINTERACTIVE = {
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_MODE": "l",
    "LC_ALL": "C",
}


class AptError(LabError):
    """apt is not there, has no Debian source, or could not install."""


@dataclass(frozen=True)
class Source:
    """One Debian archive as an apt one-line source needs it, for the machine's own suite."""

    options: str
    uri: str
    suite: str
    components: str

    def line(self, suite: str) -> str:
        """The one-line source of this archive for `suite`."""
        return f"deb {self.options}{self.uri} {suite} {self.components}\n"


def available() -> bool:
    """Whether this machine can install Debian packages: root, apt and a Debian source."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and bool(debian_sources())


def codename() -> str:
    """The machine's own suite, as "bookworm"; empty where it is not a Debian."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    return release.get("VERSION_CODENAME", "").strip('"')


def debian_sources(root: Path = SOURCES) -> tuple[Source, ...]:
    """The machine's sources of its own Debian suite; other vendors' archives are left out."""
    suite = codename()
    found: list[Source] = []
    for path in sorted([root / "sources.list", *(root / "sources.list.d").glob("*")]):
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += _deb822(text, suite) if path.suffix == ".sources" else _one_line(text, suite)
    return tuple(dict.fromkeys(s for s in found if suite and _is_debian(s)))


def _is_debian(source: Source) -> bool:
    """Debian's own archive: has `main`, and is signed by Debian's keyring where it says by whom."""
    signer = "signed-by" not in source.options or "debian-archive" in source.options
    return "main" in source.components.split() and signer


def _one_line(text: str, suite: str) -> list[Source]:
    """The sources of `suite` in a `.list` file."""
    pattern = re.compile(r"^\s*deb\s+(\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s+(.+?)\s*(?:#.*)?$", re.MULTILINE)
    return [
        Source(options=options, uri=uri, suite=named, components=components)
        for options, uri, named, components in pattern.findall(text)
        if named == suite
    ]


def _deb822(text: str, suite: str) -> list[Source]:
    """The sources of `suite` in a `.sources` file, options reduced to the keyring's path."""
    found: list[Source] = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        fields = {
            key.lower(): value.strip()
            for key, value in (line.split(":", 1) for line in lines if re.match(r"[\w-]+:", line))
        }
        wanted = "deb" in fields.get("types", "").split() and suite in fields.get("suites", "").split()
        if not wanted or fields.get("enabled", "yes").lower() == "no":
            continue
        keyring = fields.get("signed-by", "")
        options = f"[signed-by={keyring}] " if keyring.startswith("/") else ""
        found += [
            Source(options, uri, suite, fields.get("components", "main")) for uri in fields.get("uris", "").split()
        ]
    return found


def sources_of(suite: str) -> str:
    """The text of a sources file for `suite`, made from the machine's own."""
    lines = "".join(source.line(suite) for source in debian_sources())
    if not lines:
        raise AptError(
            f"no Debian source of {codename() or 'this machine'} under {SOURCES}; add one, since "
            f"packages of {suite} are needed"
        )
    return lines


def transfer_settings() -> str:
    """The machine's apt settings on how to reach an archive, as the text of an apt.conf."""
    kept = re.compile(r"^Acquire::(Check-\w[\w-]*|(http|https)::[Pp]roxy[\w:.-]*|Retries) ")
    dump = run(["apt-config", "dump"], what="read apt's settings")
    lines = [line for line in dump.splitlines() if kept.match(line)]
    return "\n".join([*lines, 'Acquire::Languages "none";', ""])


def run(argv: list[str], *, what: str, cwd: Path | None = None, seconds: float = 900) -> str:
    """Run an apt command; raises AptError that says `what` was tried and apt's last words."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **NONINTERACTIVE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AptError(f"cannot {what}: {error}") from error
    if done.returncode != 0:
        raise AptError(f"cannot {what}: {_last_words(done.stderr or done.stdout)}")
    return done.stdout


def _last_words(text: str) -> str:
    """The lines that say why, out of a long log."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg: error", "W: Fail"))]
    return " / ".join((errors or lines)[-3:]) or "it said nothing"


def install(packages: list[str]) -> None:
    """Install packages of the machine's own suite, after refreshing its lists."""
    run(["apt-get", "update", "-q"], what="refresh the package lists")
    run(
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages],
        what=f"install {' '.join(packages)}",
    )


def candidate(package: str) -> str:
    """The version of `package` that the machine's own suite would install; empty if none."""
    policy = run(["apt-cache", "policy", package], what=f"look up {package}")
    found = re.search(r"Candidate: (\S+)", policy)
    return "" if found is None or found[1] == "(none)" else found[1]


def download(packages: list[str], suite: str, scratch: Path) -> tuple[Path, ...]:
    """Fetch packages of `suite` into the empty directory `scratch`; the machine is not changed."""
    lists, sources = scratch / "lists", scratch / "sources.list"
    (lists / "partial").mkdir(parents=True)
    sources.write_text(sources_of(suite), encoding="utf-8")
    options = [
        *("-o", f"Dir::Etc::SourceList={sources}"),
        *("-o", "Dir::Etc::SourceParts=-"),
        *("-o", f"Dir::State::Lists={lists}"),
        *("-o", f"Dir::Cache::pkgcache={scratch / 'pkgcache.bin'}"),
        *("-o", f"Dir::Cache::srcpkgcache={scratch / 'srcpkgcache.bin'}"),
        *("-o", "APT::Sandbox::User=root"),
        *("-o", "APT::Default-Release="),
    ]
    run(["apt-get", *options, "update", "-q"], what=f"read the package lists of {suite}")
    run(
        ["apt-get", *options, "download", "-q", *packages],
        what=f"fetch {' '.join(packages)} of {suite}",
        cwd=scratch,
    )
    return tuple(sorted(scratch.glob("*.deb")))
