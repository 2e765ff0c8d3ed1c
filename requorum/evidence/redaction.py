"""What must never be kept is taken out of a text, a line or a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from requorum.command import REDACTED

# What a tool may print of a secret even where it should not. Each pattern stands behind plain words, in lower case, of
# which a text must have one: most lines of a log have none, and looking for words is a hundred times faster.
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\S+)"""
_SECRETS = (
    (("://",), re.compile(r"(\w+://[^\s/:@]+:)\S+@"), rf"\1{REDACTED}@"),
    # Not behind a slash: a file called password is named in many a path. Nor sudo's NOPASSWD: a command follows it.
    (
        ("pass", "secret"),
        re.compile(rf"(?i)(?<!/)(?<!no)((?:password|passwd|passphrase|secret)s?[\"']?\s*(?:=>|[=:])\s*){_VALUE}"),
        rf"\1{REDACTED}",
    ),
    (("password",), re.compile(rf"(?i)(--password\s+){_VALUE}"), rf"\1{REDACTED}"),
    (("password",), re.compile(r"(?i)(?<!/)(\bpassword\s+)(?=\S*\d)\S+"), rf"\1{REDACTED}"),
    # etcd logs its simple tokens; `initial-cluster-token` is none, it names a cluster.
    (
        ("token",),
        re.compile(rf"(?i)((?<![-\w])(?:simple-|auth-|access_)?token[\"']?\s*[=:]\s*)(?!simple\b|jwt\b){_VALUE}"),
        rf"\1{REDACTED}",
    ),
    (
        ("authorization", "bearer"),
        re.compile(r"(?i)((?:authorization[\"']?\s*[=:]\s*[\"']?|\bbearer\s+)(?:(?:bearer|basic)\s+)?)[^\s\"']{4,}"),
        rf"\1{REDACTED}",
    ),
    (("eyj",), re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){1,2}"), REDACTED),  # a JSON web token
    (("$2",), re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}"), REDACTED),  # bcrypt: what etcd keeps of a password
    (("-u", "_user"), re.compile(r"(?i)((?:--user|_USER|\s-u)[=\s]+[^\s:]+:)\S+"), rf"\1{REDACTED}"),
    (
        # A key that was cut off is one too: what follows its beginning goes.
        ("private key",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        REDACTED,
    ),
)
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_KEY_LINES = 200  # a key that has no end is no longer than that


def redact(text: str) -> str:
    """`text` without anything that looks like a password, a token or a private key. The one redactor of the tree."""
    low = text.lower()
    for words, pattern, replacement in _SECRETS:
        if any(word in low for word in words):
            text = pattern.sub(replacement, text)
    return text


def redacted_lines(lines: Iterable[str]) -> Iterator[str]:
    """`redact` line by line, for what is too long to be held: a private key over several lines goes as a whole."""
    inside = 0
    for line in lines:
        if inside:
            inside = 0 if _KEY_ENDS.search(line) else inside - 1
            continue
        yield redact(line) + ("\n" if line.endswith("\n") and _KEY_BEGINS.search(line) else "")
        if _KEY_BEGINS.search(line) and not _KEY_ENDS.search(line):
            inside = _KEY_LINES


def redacted(value: object) -> object:
    """`redact` for every text in a record, before it is encoded: afterwards a quote could be taken for a secret's."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value
