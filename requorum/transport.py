"""How the hosts of an inventory are reached, and how a login becomes root there."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {value!r}; put it in quotes")
    if not NAME.fullmatch(value):
        raise ValueError("must be a plain name of letters, digits, dots, dashes or underscores")
    return value


Name = Annotated[str, BeforeValidator(_name)]

# How a login becomes root: words that no shell reads, and for what is like sudo only options that leave it what it is.
_WORD = re.compile(r"[A-Za-z0-9._/@=:+-]+")
_PROGRAM = re.compile(r"(?:/(?:[A-Za-z0-9._+-]+/)*)?[a-z][a-z0-9._+-]{0,62}")
_ASKS_NOTHING_BY = frozenset({"sudo", "dzdo", "doas"})
_HARMLESS = re.compile(r"-[nHu]|root")


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Transport(Model):
    """How to reach the hosts. Backends are testinfra's; these four can also carry standard input."""

    backend: Literal["ssh", "docker", "podman", "local"] = "ssh"
    ssh_config: str | None = None
    user: Name | None = None
    become: str = "sudo -n"

    @field_validator("become")
    @classmethod
    def _becomes_root(cls, value: str) -> str:
        words = value.split()
        if not words or not all(_WORD.fullmatch(word) for word in words):
            raise ValueError("must be plain words, without what a shell reads: sudo -n, dzdo -n, doas -n, pbrun")
        if not _PROGRAM.fullmatch(words[0]) or ".." in words[0].split("/"):
            raise ValueError(f"{words[0]!r} is no name of a program, nor an absolute path to one")
        family = words[0].rsplit("/", 1)[-1] in _ASKS_NOTHING_BY
        if family and "-n" not in words:
            raise ValueError("lacks -n: nobody is there to be asked for a password (--ask-become-pass asks you once)")
        if family and (other := [word for word in words[1:] if not _HARMLESS.fullmatch(word)]):
            raise ValueError(f"{other[0]!r} would do something else than run a command as root: -n, -H or -u root")
        return " ".join(words)

    @property
    def as_root(self) -> tuple[str, ...]:
        """The words before a command that root is to run."""
        return tuple(self.become.split())


class Host(Model):
    """`address`: a name or an IP address to reach it by; a leading dash would be an option of ssh."""

    address: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_:][A-Za-z0-9._:%-]*$")
