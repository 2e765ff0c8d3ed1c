"""Whether a run did what a plan said: each host's commands in order, a placeholder matching one text throughout.

Plain comparison otherwise: a word without ‹…› must be the very same word, and nothing may be left over on either side.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import zip_longest

PLACEHOLDER = re.compile("‹[^›]*›")
SEVERAL = re.compile("‹names-in-[^›]*›")  # may stand for several words


def differences(
    planned: Mapping[str, Sequence[str]], ran: Mapping[str, Sequence[str]], bound: dict[str, str]
) -> list[str]:
    """What differs, a line each; [] if nothing. Shape: host → lines. `bound` collects placeholder → text."""
    found = []
    for host in dict.fromkeys((*planned, *ran)):
        for number, (wanted, line) in enumerate(zip_longest(planned.get(host, ()), ran.get(host, ())), start=1):
            if wanted is None or line is None or not matches(wanted, line, bound):
                found.append(f"{host}, command {number}: planned {wanted}\n    ran {line}")
                break
    return found


def matches(planned: str, line: str, bound: dict[str, str]) -> bool:
    """Word by word; what a placeholder stands for is kept in `bound` only where the whole line matches."""
    wanted, words = shlex.split(planned), shlex.split(line)
    several = [n for n, word in enumerate(wanted) if SEVERAL.fullmatch(word)]
    if several and len(words) > len(wanted):
        at, end = several[0], several[0] + 1 + len(words) - len(wanted)
        words = [*words[:at], " ".join(words[at:end]), *words[end:]]
    if len(wanted) != len(words):
        return False
    new = dict(bound)
    if not all(_word(*pair, new) for pair in zip(wanted, words, strict=True)):
        return False
    bound.update(new)
    return True


def _word(wanted: str, word: str, bound: dict[str, str]) -> bool:
    names: dict[str, str] = {}
    pattern, end = "", 0
    for found in PLACEHOLDER.finditer(wanted):
        name = found[0]
        pattern += re.escape(wanted[end : found.start()])
        end = found.end()
        if name in bound:
            pattern += re.escape(bound[name])
        elif name in names:
            pattern += f"(?P={names[name]})"
        else:
            names[name] = f"p{len(names)}"
            pattern += f"(?P<{names[name]}>.+?)"
    match = re.fullmatch(pattern + re.escape(wanted[end:]), word, re.S)
    if match is None:
        return False
    bound.update({name: match[group] for name, group in names.items()})
    return True
