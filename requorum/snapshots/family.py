"""Which data belong to one cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from requorum.cluster.lineage import Lineage, cluster_id, member_id
from requorum.run.history import Birth
from requorum.snapshots.bolt import Member


def of_members(members: Sequence[Member], known: Iterable[Lineage]) -> Lineage | None:
    """The lineage of a snapshot by the members in it; None where it lists none.

    One of `known` whose token gives the ID of any member is proven. Else it is the cluster ID that these members have
    if they formed the cluster, which is another one's, or cannot be told any more after changes of membership.
    """
    if not members:
        return None
    for lineage in known:
        if lineage.token and any(member_id(m.peer_urls, lineage.token) == m.id for m in members):
            return lineage
    return Lineage(None, cluster_id(m.id for m in members))


@dataclass(frozen=True)
class Family:
    """`line`: the lost cluster's lineage, then that of the cluster whose data it was restored from, and so on; empty
    where no host tells. `unborn`: clusters of runs that failed before Deephaven could write. `bumps` by token.
    """

    line: tuple[Lineage, ...] = ()
    unborn: tuple[Lineage, ...] = ()
    bumps: tuple[tuple[str, int], ...] = ()

    @property
    def lost(self) -> Lineage | None:
        return self.line[0] if self.line else None

    def generation(self, lineage: Lineage) -> int | None:
        """0 for the lost cluster's own data, 1 for what it was restored from, …; None for anything else."""
        return next((n for n, ours in enumerate(self.line) if ours.agrees(lineage)), None)

    def is_unborn(self, lineage: Lineage) -> bool:
        return any(lineage.agrees(other) for other in self.unborn)

    def bump(self, lineage: Lineage | None, told: int = 0) -> int:
        """By how much our own runs bumped the revisions of this lineage, all of them added; `told` where no host knows
        of its birth."""
        return dict(self.bumps).get(lineage.token or "", told) if lineage else told

    def completed(self, told: Lineage, derived: Lineage | None) -> Lineage:
        """What `told` leaves out, from the lineage of ours that it agrees with, else from the one that the members in
        the data prove; unless that contradicts it."""
        ours = next((lineage for lineage in self.line if lineage.agrees(told)), derived)
        if ours is None or ours.token is None or ours.with_parts_of(told) != told.with_parts_of(ours):
            return told
        return told.with_parts_of(ours)


def family_of(
    on_disk: Mapping[str, Lineage],
    births: Mapping[str, Birth],
    undone: Collection[str] = (),
    unheld: Collection[str] = (),
) -> Family:
    """What most old members' disks say, a failed run's cluster counting as the one whose data it was restored from.

    `on_disk`: host → what its configuration and WAL say. Members that contradict each other equally often tell nothing.
    `unheld`: tokens of births that the configuration server does not have. That such a cluster, whose data disks hold,
    is a failed run's nobody proves: then no host tells which was lost.
    """
    doubted = {lineage.token for lineage in on_disk.values() if lineage.token in unheld}
    unborn = [Lineage(birth.token) for birth in births.values() if not birth.alive and birth.token not in doubted]
    bumps = tuple((birth.token, birth.bumps) for birth in births.values())
    if any(not birth.alive for token, birth in births.items() if token in doubted):
        return Family((), tuple(unborn), bumps)
    resolved = [_alive(lineage, births) for lineage in on_disk.values()]
    votes = [lineage for lineage in resolved if lineage is not None and lineage != Lineage()]
    # Members that only know a part vote for the fuller answer that they agree with.
    full = [next((o for o in votes if o.agrees(v) and None not in (o.token, o.cluster_id)), v) for v in votes]
    ranked = Counter(full).most_common()
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return Family((), tuple(unborn), bumps)
    line = [ranked[0][0]]
    if any(b.alive and b.run not in undone and b.parent and b.parent.agrees(line[0]) for b in births.values()):
        return Family((), tuple(unborn), bumps)  # it was rebuilt, and that cluster lived: these are older disks
    while (birth := births.get(line[-1].token or "")) is not None:
        parent = _alive(birth.parent, births)
        if parent is None or parent in line:
            break
        line.append(parent)
    return Family(tuple(line), tuple(unborn), bumps)


def _alive(lineage: Lineage | None, births: Mapping[str, Birth]) -> Lineage | None:
    """`lineage`, or the nearest ancestor that Deephaven has written into where it is a failed run's."""
    for _ in range(len(births) + 1):
        birth = births.get(lineage.token or "") if lineage else None
        if birth is None or birth.alive:
            return lineage
        lineage = birth.parent
    return None
