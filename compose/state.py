"""What the lab remembers between commands: `.lab/state.json` and the other files in `.lab/`.

Pure data: what runs is asked of the engine (`compose/nodes.py`), never read from here.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from compose.errors import StateError

REPOSITORY = Path(__file__).resolve().parent.parent
# REQUORUM_LAB=NAME is another lab of this checkout, beside its own: for tests that run side by side.
OTHER = os.environ.get("REQUORUM_LAB", "")
_SUFFIX = f"-{OTHER}" if OTHER else ""
LAB_DIR = REPOSITORY / f".lab{_SUFFIX}"
MAKING = REPOSITORY / ".lab-making"  # locked while a lab's image, addresses and ports are taken: one lab at a time
STATE_FILE = LAB_DIR / "state.json"
SSH_CONFIG = LAB_DIR / "ssh_config"
SSH_KEY = LAB_DIR / "ops_ed25519"
KNOWN_HOSTS = LAB_DIR / "known_hosts"
COMPOSE_OVERRIDE = LAB_DIR / "compose.yml"
INVENTORY = REPOSITORY / "inventory" / f"lab{_SUFFIX}.yaml"
BACKUPS = REPOSITORY / "backups" / f"lab{_SUFFIX}"

# Two checkouts on one machine can each have a lab, under another project name.
PROJECT = os.environ.get("REQUORUM_LAB_PROJECT", "requorum-lab") + _SUFFIX
CLUSTER = "lab"
CHEAP = 4  # bcrypt's cost in the lab: with etcd's own of 10, eleven roles that are asked in turn cost minutes


class Role(StrEnum):
    """What a machine of the lab is for."""

    MEMBER = "member"
    CONFIGURATION_SERVER = "configuration-server"
    QUERY = "query"
    SPARE = "spare"


@dataclass(frozen=True)
class Machine:
    """One machine: `ip` on the etcd network; `old_ip` before a readdress, else None."""

    name: str
    role: Role
    ip: str
    ssh_port: int = 0
    old_ip: str | None = None


@dataclass(frozen=True)
class LabState:
    """One lab: `subnet` of the etcd network, `keys` loaded so far, and what `up` was given."""

    etcd: str
    image: str
    subnet: str
    machines: tuple[Machine, ...]
    keys: int = 0
    presence: bool = False
    accounts: bool = False
    certificates: bool = False
    layout: str = "vendor"
    hosts_like: str = "debian"
    line: str = ""
    bcrypt_cost: int = CHEAP

    def of(self, role: Role) -> tuple[Machine, ...]:
        """The machines of one role, in the order of their numbers."""
        return tuple(machine for machine in self.machines if machine.role is role)

    def with_machine(self, changed: Machine) -> "LabState":
        """The same lab with one machine replaced by its namesake `changed`."""
        return replace(
            self,
            machines=tuple(changed if m.name == changed.name else m for m in self.machines),
        )

    def write(self, path: Path = STATE_FILE) -> None:
        """Write the state as a whole or not at all; the directory is 0700."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(draft, path)

    @classmethod
    def read(cls, path: Path = STATE_FILE) -> "LabState":
        """The state that `up` wrote; raises StateError when there is none or it is damaged."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            machines = tuple(Machine(**{**m, "role": Role(m["role"])}) for m in raw["machines"])
            return cls(**{**raw, "machines": machines})
        except FileNotFoundError:
            raise StateError(f"no lab: {path} is missing; run `python -m compose.lab up`") from None
        except (ValueError, TypeError, KeyError) as error:
            raise StateError(
                f"{path} is not a lab's state ({error}); run `python -m compose.lab down`, then up"
            ) from error
