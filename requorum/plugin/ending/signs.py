"""What the words of ssh, sudo, etcd, tar and the kernel mean: the cause, and where it is known what to do first.

Only what a tool says of itself counts; where no sign fits, no cause is named. The first that fits is taken, so the
narrower words stand before the wider.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from requorum.hosts.meeting import TURNED_AWAY


@dataclass(frozen=True)
class Sign:
    """`words`: a pattern over what was said. `first`: what to do, "" where the error's own remedy says it better;
    `procedure`: of ours, that says more; `rules`: that sudo's rules lack altogether, so that no procedure can ask."""

    words: str
    cause: str
    first: str = ""
    procedure: str = ""
    rules: bool = False

    def shows(self, text: str) -> bool:
        return re.search(self.words, text, re.I) is not None


_LIVES = "The machine lives, so it is not --gone."
DISK = "have that disk looked at; change nothing on it before its data is copied"

SIGNS = (
    # -- ssh: who is there, and who is let in
    Sign(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No \S+ host key is known for",
        f"ssh does not know this machine's key: it was set up anew, or it is another machine. {_LIVES}",
        "ask whoever set it up, and compare the key with the one on its console, before you let ssh accept it",
    ),
    Sign(
        r"Too many authentication failures",
        f"ssh offered more keys than sshd there lets it try (MaxAuthTries). {_LIVES}",
        "name the one key in the ssh configuration: IdentityFile and IdentitiesOnly yes",
    ),
    Sign(
        r"Permission denied \([\w-]+(?:,[\w-]+)*\)",
        f"sshd there answers and accepts none of your keys for this login. {_LIVES}",
        "load the key of this login (ssh-add -l lists what is loaded), or correct transport.user in the inventory",
    ),
    Sign(
        rf"Session open refused by peer|open failed: (?:administratively prohibited: )?no more sessions|"
        rf"Exceeded MaxStartups|Not allowed at this time|(?:kex|ssh)_exchange_identification|{TURNED_AWAY}",
        f"sshd there, or a bastion's, takes no more connections or sessions at the same time. {_LIVES}",
        "run with fewer hosts at the same time, --concurrency=4, or raise MaxStartups and MaxSessions there",
    ),
    Sign(r"Could not resolve hostname|Name or service not known|name resolution", "its name does not resolve here"),
    Sign(r"No route to host|Network is unreachable", "there is no way to it in the network, or it is switched off"),
    Sign(
        r"connect to host .*Connection refused",
        "something answers at that address, but no sshd on that port",
        "start sshd there, or correct the address and the port in the inventory and the ssh configuration",
    ),
    Sign(
        r"(?:Connection|Operation) timed out|timed out during banner exchange|Timeout, server \S+ not responding",
        "nothing comes back from it: it is down, hangs, or a firewall swallows what is sent",
    ),
    # -- sudo
    Sign(
        r"a password is required|a terminal is required to read the password|no tty present and no askpass",
        "sudo wants a password there, since the login has no NOPASSWD rule for this command",
        "as root there, give this login its rules; this prints a whole file for /etc/sudoers.d/requorum",
        rules=True,
    ),
    Sign(
        r"is not allowed to execute|is not in the sudoers file|may not run sudo",
        "sudo's rules on that machine lack this command",
        "add the lines that are missing; this lists them and changes nothing",
        "runbook/troubleshoot/sudoers",
    ),
    Sign(r"sudo: \S+: command not found", "root does not find that tool in sudo's secure_path there"),
    # -- etcd
    Sign(
        r"database space exceeded|NOSPACE|quota of [\d,]+ bytes for [\d,]+ bytes of data",
        "etcd's own quota (quota-backend-bytes) is used up, or too small for the data; that is not the disk",
    ),
    Sign(r"\b(?-i:CORRUPT)\b", "etcd found that its members' data differed (alarm CORRUPT)"),
    Sign(
        r"certificate has expired or is not yet valid: current time \S+ is before|certificate is not yet valid",
        "a certificate is not valid yet: the clock there is behind that of the machine that made it",
        "set the clocks of these machines right",
    ),
    Sign(r"certificate has expired", "a certificate has expired, or a clock is far ahead"),
    Sign(
        r"certificate signed by unknown authority|unable to get local issuer certificate|self.signed certificate",
        "the certificate was made by another authority: configurations of two clusters are mixed",
    ),
    Sign(r"certificate is valid for .*, not ", "the certificate is for other addresses than the one that is asked"),
    Sign(
        r"CONNECT tunnel failed|HTTP code \d+ from proxy|Proxy CONNECT aborted|proxyconnect|resolve proxy|"
        r"failed to do connect handshake, response:",
        "the connection goes through a proxy that the environment or .curlrc names",
        "take the proxy out of that login's and root's environment there (http_proxy, https_proxy, .curlrc)",
    ),
    Sign(r"invalid user ID or password", "etcd refuses this password, which is not one of the data that it runs on"),
    Sign(r"etcdserver: permission denied", "etcd let the login in, and its role may not do this"),
    Sign(
        r"etcdserver: (?:no leader|leader changed|request timed out)|context deadline exceeded",
        "etcd has no quorum at this moment, or is too slow to answer",
    ),
    Sign(r"sha256 (?:mismatch|check failed)|expected sha256|integrity check failed", "the file was cut off or altered"),
    Sign(r"crc mismatch|file is corrupt|invalid database|page \d+: unexpected", "data on that disk is damaged", DISK),
    Sign(r"address already in use", "another process listens on that port already"),
    Sign(r"cannot assign requested address", "that address is not one of this machine"),
    # -- systemd
    Sign(r"Unit \S+ is masked", "the unit is masked: systemd does not start it"),
    Sign(r"Unit \S+ (?:could not be |not )found|Unit file \S+ does not exist", "systemd knows no such unit there"),
    # -- the kernel's words, by whichever tool
    Sign(r"No space left on device|Disk quota exceeded", "the file system there is full", "make room on that machine"),
    Sign(r"Read-only file system", "the file system there is mounted read-only, often after a disk error", DISK),
    Sign(r"Input/output error", "the disk there cannot read a block: hardware, or its file system", DISK),
    Sign(r"Stale file handle|Transport endpoint is not connected", "a network file system there has gone away"),
    Sign(r"Cannot allocate memory|Out of memory|oom-kill", "there is not enough memory there"),
    Sign(r"file changed as we read it", "something there still writes while it is copied"),
    Sign(r"Permission denied|Operation not permitted", "the account may not read or write that file there"),
    Sign(
        r"did not end within|no answer within the deadline",
        "it took longer than its deadline: a slow disk or network, or it waits for something",
        "see what it waits for there; where it is only slow, run with --timeout-scale=3",
    ),
)


def sign(text: str) -> Sign | None:
    """The first sign that these words show."""
    return next((one for one in SIGNS if one.shows(text)), None)
