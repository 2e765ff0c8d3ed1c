"""Whether etcd asks who somebody is, and whom it knows without a password."""

from __future__ import annotations

from dataclasses import dataclass

NO_PASSWORD = "no password user"  # etcd's words to a password of such a user


@dataclass(frozen=True)
class Authentication:
    """As data has it. `without_password`: users whom only a client certificate lets in."""

    on: bool = True
    without_password: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What is unusual about it, for the operator; "" where every user has a password."""
        if not self.on:
            return "authentication is off in this data: whoever reaches etcd may read and write everything"
        if self.without_password:
            return f"without a password, by client certificates alone: {', '.join(self.without_password)}"
        return ""
