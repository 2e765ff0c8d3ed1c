"""Each cause that can be named: the words as the tool says them, and what the last lines make of it."""

from __future__ import annotations

import pytest

from requorum.cluster.settings import too_small
from requorum.evidence.redaction import redact
from requorum.plugin.ending.signs import SIGNS, Sign, sign
from requorum.refusal import Disproved
from tests.unit.plugin.ending import ended

EXPIRED = "x509: certificate has expired or is not yet valid: current time "
# As said by OpenSSH, sudo, etcd 3.5, Go's x509, curl, GNU tar and systemd.
WORDS = {
    "Host key verification failed.": "does not know this machine's key",
    "No ED25519 host key is known for etcd-2 and you have requested strict checking.": "does not know this machine's",
    "Received disconnect from 10.9.0.12 port 22:2: Too many authentication failures": "MaxAuthTries",
    "ops@etcd-2: Permission denied (publickey,gssapi-keyex,gssapi-with-mic).": "accepts none of your keys",
    "mux_client_request_session: session request failed: Session open refused by peer": "at the same time",
    "channel 0: open failed: administratively prohibited: no more sessions": "at the same time",
    "kex_exchange_identification: Connection closed by remote host": "at the same time",
    "ssh: Could not resolve hostname etcd-2: Name or service not known": "does not resolve",
    "ssh: connect to host etcd-2 port 22: No route to host": "no way to it",
    "ssh: connect to host etcd-2 port 22: Connection refused": "no sshd on that port",
    "ssh: connect to host etcd-2 port 22: Connection timed out": "nothing comes back",
    "Connection timed out during banner exchange": "nothing comes back",
    "sudo: a password is required": "no NOPASSWD rule",
    "sudo: a terminal is required to read the password; either use the -S option": "no NOPASSWD rule",
    "Sorry, user ops is not allowed to execute '/usr/bin/true' as root on etcd-2.": "rules on that machine lack",
    "ops is not in the sudoers file.": "rules on that machine lack",
    "sudo: etcdutl: command not found": "secure_path",
    "Error: etcdserver: mvcc: database space exceeded": "quota-backend-bytes",
    "alarm:NOSPACE": "quota-backend-bytes",
    "memberID:0 alarm:CORRUPT": "members' data differed",
    f"{EXPIRED}2026-11-27T02:00:00Z is before 2026-11-27T02:09:11Z": "not valid yet",
    f"{EXPIRED}2027-01-01T00:00:00Z is after 2026-12-01T00:00:00Z": "has expired",
    'transport: authentication handshake failed: x509: certificate signed by unknown authority"': "another authority",
    "x509: certificate is valid for 10.0.0.11, not 10.0.0.12": "for other addresses",
    "curl: (56) CONNECT tunnel failed, response 403": "through a proxy",
    "curl: (56) Received HTTP code 407 from proxy after CONNECT": "through a proxy",
    'failed to do connect handshake, response: "HTTP/1.1 403 Forbidden"': "through a proxy",
    "Error: etcdserver: authentication failed, invalid user ID or password": "refuses this password",
    "Error: etcdserver: permission denied": "its role may not",
    "Error: context deadline exceeded": "no quorum at this moment",
    "Error: etcdserver: no leader": "no quorum at this moment",
    "Error: snapshot file integrity check failed. Expected hash e3b0, but got a1b2": "cut off or altered",
    "wal: crc mismatch": "is damaged",
    "panic: bbolt: file is corrupt": "is damaged",
    "listen tcp 10.0.0.12:2380: bind: address already in use": "another process listens",
    "listen tcp 10.0.0.12:2380: bind: cannot assign requested address": "not one of this machine",
    "Failed to start dh-etcd.service: Unit dh-etcd.service is masked.": "is masked",
    "Failed to start dh-etcd.service: Unit dh-etcd.service not found.": "no such unit",
    "tar: ./member/wal/0.wal: Cannot write: No space left on device": "is full",
    "mkdir: cannot create directory '/var/lib/requorum': Read-only file system": "mounted read-only",
    "tar: ./member/snap/db: Read error at byte 0, while reading 10240 bytes: Input/output error": "cannot read a block",
    "cat: /mnt/backup: Stale file handle": "network file system",
    "fork: Cannot allocate memory": "not enough memory",
    "tar: ./member/snap/db: file changed as we read it": "still writes",
    "cat: /var/lib/etcd/dh: Permission denied": "may not read or write",
    "did not end within 900 s": "longer than its deadline",
}


@pytest.mark.parametrize(("words", "cause"), WORDS.items(), ids=list(WORDS))
def test_the_words_of_a_tool_name_their_cause(words: str, cause: str) -> None:
    found = ended.block(ended.ended(ended.broken(words)))
    assert cause in found["Cause"]
    assert found["It said"] == words.strip()
    assert found["Do first"]


def test_every_sign_is_shown_by_words_of_a_tool() -> None:
    assert {sign(words) for words in WORDS} == set(SIGNS)


@pytest.mark.parametrize("words", ["", "it printed nothing", "exit code 1", "everything is fine"])
def test_where_nothing_is_known_no_cause_is_named(words: str) -> None:
    assert sign(words) is None
    assert "Cause" not in ended.block(ended.ended(ended.broken(words)))


@pytest.mark.parametrize(
    "words",
    [
        "Host key verification failed.",
        "ops@etcd-2: Permission denied (publickey).",
        "Too many authentication failures",
        "Session open refused by peer",
    ],
)
def test_a_machine_that_answers_is_never_offered_as_gone(words: str) -> None:
    found = ended.block(ended.ended(ended.silent(words), step=0, stage="test_given_every_host_answers"))
    assert "--gone" not in found["Do first"]
    assert "lives, so it is not --gone" in found["Cause"]


def test_a_long_line_that_is_no_refusal_of_keys_is_read_at_once() -> None:
    assert sign(f"Permission denied ({'a' * 40}!") is not None, "another sign's"


def test_a_quota_that_is_too_small_is_not_the_disks_fault() -> None:
    words = too_small([("quota-backend-bytes", "8388608")], 10_620_960)
    found = ended.block(
        ended.ended(Disproved("it fits", {"etcd-1": words or ""}, "raise it"), 0, "test_given_there_is_room")
    )
    assert found["Asked"] == "Is there room on every disk, and below etcd's quota? No."
    assert found["Cause"].endswith("that is not the disk")


@pytest.mark.parametrize("one", SIGNS, ids=lambda one: one.cause[:30])
def test_no_word_of_a_sign_is_taken_for_a_secret(one: Sign) -> None:
    assert redact(one.cause) == one.cause and redact(one.first) == one.first
