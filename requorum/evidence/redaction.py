"""What must never be kept or obeyed is taken out of a text, a line or a value: secrets, and control characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from requorum.command import REDACTED

LINE = 16 * 1024  # characters of a line that are kept: what a host says has no say in how long we look at it

# What a terminal or a reader would obey: C0 but tab and newline, delete, C1, what hides or turns around what follows it
# (zero width, fillers, bidi, tags), other line ends, and halves of characters.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)

# What a tool may print of a secret even where it should not. Each pattern stands behind plain words, in lower case, of
# which a text must have one: most lines of a log have none, and looking for words is a hundred times faster. Every one
# takes a time in proportion to the text, whatever the text: what a search has passed over, no other search begins in.
_GAP = r"(?:\s|\\x1b\[[\d;]*m|\\x[0-9a-f]{2}|\\u[0-9a-f]{4})*+"  # also with the colours of a terminal, as `shown`
_QUOTE = r"""(?:\\*+["'])?"""  # of JSON, and of JSON in JSON
_VALUE = r"""(?:"(?:[^"\\]|\\.)*+"|'[^']*+'|(?P<quote>\\++["']).*?(?<!\\)(?P=quote)|["'][^\n]*+|\S+)"""
_LOGIN = re.compile(r"://[^\s/:@]+:")
_WEB_TOKEN = re.compile(r"\beyJ[\w-]{8}")


def _url(found: re.Match[str]) -> str:
    """A word with a login in it: from the name's colon to the last @."""
    word = found[0]
    login = _LOGIN.search(word, 0, end := word.rfind("@") if "@" in word else 0)
    return f"{word[: login.end()]}{REDACTED}{word[end:]}" if login and login.end() < end else word


def _web_token(found: re.Match[str]) -> str:
    begin = _WEB_TOKEN.search(found[0])
    return found[0][: begin.start()] + REDACTED if begin and "." in found[0][begin.end() :] else found[0]


def _user(found: re.Match[str]) -> str:
    name, _, password = found[2].partition(":")
    return f"{found[1]}{name}:{REDACTED}" if name and password else found[0]


_SECRETS: tuple[tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (("://",), re.compile(r"(?<!\S)\S++"), _url),
    # Not behind a slash: a file called password is named in many a path. Nor sudo's NOPASSWD: a command follows it.
    (
        ("pass", "secret"),
        re.compile(
            rf"(?i)(?<!/)(?<!no)((?:password|passwd|passphrase|secret)s?{_QUOTE}{_GAP}(?:=>|[=:]){_GAP}){_VALUE}"
        ),
        rf"\1{REDACTED}",
    ),
    # What `grep` prints of such a file: no space behind the colon, where an error has one.
    (("/pass", "/secret"), re.compile(r"(?i)(/(?:password|passphrase|secret)s?[:=])(?=\S).*"), rf"\1{REDACTED}"),
    # A shell's PWD is a directory.
    (
        ("pwd",),
        re.compile(rf"(?i)(?<!/)(pwd{_QUOTE}{_GAP}[=:]{_GAP})(?![\\\"']*/){_VALUE}"),
        rf"\1{REDACTED}",
    ),
    (("password",), re.compile(rf"(?i)(--password\s++){_VALUE}"), rf"\1{REDACTED}"),
    (("password",), re.compile(r"(?i)(?<!/)(\bpassword\s++)(?=\S*\d)\S+"), rf"\1{REDACTED}"),
    # etcd logs its simple tokens; `initial-cluster-token` is none, it names a cluster.
    (
        ("token",),
        re.compile(
            rf"(?i)((?<![-\w])(?:simple-|auth-|access_)?token{_QUOTE}{_GAP}[=:]{_GAP})(?!simple\b|jwt\b){_VALUE}"
        ),
        rf"\1{REDACTED}",
    ),
    (
        ("authorization", "bearer"),
        re.compile(
            rf"(?i)((?:authorization{_QUOTE}{_GAP}[=:]{_GAP}{_QUOTE}|\bbearer\s++)(?:(?:bearer|basic)\s++)?)[^\s\"']{{4,}}"
        ),
        rf"\1{REDACTED}",
    ),
    (("eyj",), re.compile(r"(?<![\w.-])[\w.-]++"), _web_token),
    (("$2",), re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}"), REDACTED),  # bcrypt: what etcd keeps of a password
    (("-u", "_user"), re.compile(r"(?i)((?:--user|_USER|\s-u)[=\s]++)(?!-)(\S++)"), _user),
    (
        # A key that was cut off is one too: what follows its beginning goes.
        ("private key",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        REDACTED,
    ),
)
# One look for all of them: most of what a host says has none.
_ANY = re.compile("|".join(re.escape(word) for words, _, _ in _SECRETS for word in words), re.I)
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_KEY_LINES = 200  # a key that has no end is no longer than that


def shown(text: str) -> str:
    """`text` with each character that would be obeyed as its number, `\\x1b`. What a host says is shown with it."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def cut(text: str) -> str:
    """`text` without what is beyond `LINE` characters of a line."""
    if len(text) <= LINE:
        return text
    lines = (line if len(line) <= LINE else f"{line[: LINE - 40]}… (the rest is left out)" for line in text.split("\n"))
    return "\n".join(lines)


def redact(text: str) -> str:
    """`text` without anything that looks like a password, a token or a private key, cut and `shown`. The one
    redactor of the tree."""
    text = shown(cut(text))
    if not _ANY.search(text):
        return text
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
        return {redacted(key): redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value
