"""Settings of etcd that an administrator made: carried from the old configuration into what is generated. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import yaml

from requorum import yaml_text
from requorum.cluster.etcd import EtcdError, MemberConfig
from requorum.inventory import SETTING

QUOTA = "quota-backend-bytes"
DEFAULT_QUOTA = 2 << 30  # etcd's own


def kept(wanted: Sequence[str], old: Mapping[str, MemberConfig]) -> dict[str, str]:
    """Name → value of each setting that the inventory's `etcd.keep_settings` names: its own value there, else that of
    the old configurations. One that none of them has is left to the generator. Raises `EtcdError` where they differ."""
    found = {}
    for name, _, value in (word.partition("=") for word in wanted):
        told = {host: dict(config.settings)[name] for host, config in old.items() if name in dict(config.settings)}
        if value:
            found[name] = value
        elif len(set(told.values())) > 1:
            raise EtcdError(
                ", ".join(told),
                f"differ in {name}: {', '.join(told.values())}",
                f"say which it is in the inventory: etcd.keep_settings: [{name}=VALUE]",
            )
        elif told:
            host, value = next(iter(told.items()))
            if not SETTING.fullmatch(value):
                raise EtcdError(host, f"has {name}: {value!r}, which cannot be carried", "take it out of keep_settings")
            found[name] = value
    return found


def quota(settings: Iterable[tuple[str, str]]) -> int | None:
    """How large a database may become; None for without limit. 0 is etcd's own default."""
    value = dict(settings).get(QUOTA, "0")
    try:
        size = int(float(value))
    except (ValueError, OverflowError):  # no number, or one without an end
        size = 0
    return None if size < 0 else size or DEFAULT_QUOTA


def too_small(settings: Iterable[tuple[str, str]], size: int) -> str | None:
    """What is wrong where a database of `size` bytes would be over its quota at once; None where it is not."""
    most = quota(settings)
    if most is None or size < most:
        return None
    return f"a quota of {most:,} bytes for {size:,} bytes of data: etcd would take no write"


def known_too_small(kept: Mapping[str, str], old: Mapping[str, MemberConfig], size: int) -> str | None:
    """The same before anything is generated: by the quota that is kept, or where an old one above etcd's own is not.
    Whatever else the new quota will be, only the generator knows."""
    if QUOTA in kept:
        return too_small(kept.items(), size)
    wrong = too_small((), size) if (left := dropped(kept, old)) else None
    return f"{wrong}; the raised one of {', '.join(left)} is not kept" if wrong else None


def dropped(kept: Mapping[str, str], old: Mapping[str, MemberConfig]) -> list[str]:
    """Hosts whose quota is above etcd's own, where none is kept: the new one is what the generator writes."""
    if QUOTA in kept:
        return []
    return [host for host, config in old.items() if (most := quota(config.settings)) is None or most > DEFAULT_QUOTA]


def for_copies(size: int) -> dict[str, str]:
    """What a drill's cluster needs: no quota where etcd's own is too small, since nobody knows what production has."""
    return {QUOTA: "-1"} if too_small((), size) else {}


REMEDY = (
    f"carry the old quota over: etcd.keep_settings: [{QUOTA}] in the inventory, or name one there: "
    f"[{QUOTA}=8589934592] (docs/preparing.md#settings-that-stay)"
)


def with_settings(text: str, values: Mapping[str, str]) -> str:
    """A `config.yaml` with these settings: their lines are replaced, all others stay as they are."""
    data = yaml_text.load(text)
    assert isinstance(data, dict)
    changed = {**data, **{name: yaml_text.load(value) for name, value in values.items()}}
    if changed == data:
        return text
    lines = [line for line in text.splitlines() if line.partition(":")[0] not in values]
    new = "\n".join([*lines, *(f"{name}: {value}" for name, value in values.items())]) + "\n"
    try:
        if yaml_text.load(new) == changed:
            return new
    except yaml_text.YAMLError:
        pass
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True, width=1 << 20)  # it was not a line each
