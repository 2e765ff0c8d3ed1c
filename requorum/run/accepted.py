"""`--accept=WORD,…`: the operator's word for exactly one stated loss each. A stop prints it ready to paste."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass

from requorum.refusal import Refusal

# What a word says; those with a host are about what lies on that old member's disk.
HOSTS = {
    "without": "what its disk holds is given up",
    "nothing": "its disk holds nothing",
    "forced": "its copy may be forced into a cluster of its own, which drops entries past its commit index",
    "on-disk": "its database may be restored without a hash",
}
ALONE = {
    "backup": "the newest backup is restored although disks may hold newer data",
    "history": "another history than the backups' is taken for the cluster's own",
}
RUN = "mark"  # with a run's name: that host's mark of it is followed


@dataclass(frozen=True)
class Accepted:
    """What `--accept` said. A word that is not needed, since nothing was found that it is about, does nothing."""

    words: tuple[str, ...] = ()

    def hosts(self, kind: str) -> tuple[str, ...]:
        """The hosts for which a word of this kind was given."""
        return tuple(word.partition(":")[2] for word in self.words if word.partition(":")[0] == kind)

    def has(self, word: str) -> bool:
        return word in self.words

    def option(self, *more: str) -> str:
        """The option as it is pasted, with what was said already."""
        return option(*dict.fromkeys((*self.words, *more)))


def parse(text: str | None, old_members: Collection[str], gone: Collection[str] = ()) -> Accepted:
    """Raises `Refusal` for a word that there is not. `old_members`: hosts whose disks a word can be about; `gone`: old
    members that can only be given up, since nobody reaches them."""
    words = split(text)
    for word in words:
        kind, _, name = word.partition(":")
        if word in ALONE or (kind in HOSTS and name in old_members) or (kind == RUN and name):
            continue
        if kind == "without" and name in gone:
            continue
        if kind in HOSTS:
            there = ", ".join(f"{kind}:{host}" for host in old_members)
            raise Refusal(f"--accept={word}", "names no old member that is there", f"one of {there}")
        every = ", ".join([*(f"{kind}:HOST" for kind in HOSTS), *ALONE, f"{RUN}:RUN"])
        raise Refusal(f"--accept={word}", "is no word that can be accepted", f"one of {every}")
    if len(accepted := Accepted(words).hosts("on-disk")) > 1:
        raise Refusal("--accept=on-disk", f"names {len(accepted)} hosts", "name one database")
    return Accepted(words)


def split(text: str | None) -> tuple[str, ...]:
    """The words as they were given, each once."""
    return tuple(dict.fromkeys(word.strip() for word in (text or "").split(",") if word.strip()))


def option(*words: str) -> str:
    """The option as it is pasted."""
    return shlex.quote(f"--accept={','.join(words)}")
