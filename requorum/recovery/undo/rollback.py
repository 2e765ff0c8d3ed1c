"""Going back: what undoes a run on every host, as data. Pure planners; what a host was is `baseline`'s to say.

Nothing is deleted here either: what the run brought goes into its own directory, and what was there before is put back
from the copy that was made before the run changed anything. A host that is as it was gives an empty plan, so that an
interrupted rollback is carried on by the same command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from requorum.cluster import deephaven
from requorum.cluster.etcd import MemberConfig
from requorum.command import Command, Result, act, act_long, look
from requorum.deadlines import HUGE, LONG
from requorum.hosts.question import Question
from requorum.hosts.systemd import Unit
from requorum.inventory import Inventory
from requorum.recovery import labels
from requorum.recovery.plan import is_new
from requorum.recovery.undo import baseline
from requorum.recovery.undo.baseline import Difference, Record
from requorum.recovery.written import Wrote
from requorum.refusal import NothingToDo, Refusal
from requorum.run import history
from requorum.run.marker import Marker, Phase, Undone
from requorum.run.terms import Terms
from requorum.snapshots.loss import Loss


class RollbackError(Refusal):
    """This run cannot be rolled back, or not yet."""


# -- may it be -----------------------------------------------------------------------------------------------------


def no_run(hosts: str) -> NothingToDo:
    return _nothing("the hosts", "carry no mark of any run", hosts)


def _nothing(where: str, what: str, hosts: str) -> NothingToDo:
    return NothingToDo(where, what, f"nothing is left to do; a recovery is a new run: pytest runbook --hosts={hosts}")


def refusal(mark: Marker, discard: bool, hosts: str, wrote: Wrote | None = None) -> Refusal | None:
    """Why this run may not be rolled back now; None if it may. `hosts`: what `--hosts` was; `wrote`: what was written
    into its cluster although its mark does not say so."""
    if mark.undone is Undone.ROLLED_BACK:
        return _nothing(f"run {mark.run}", "was rolled back already", hosts)
    if mark.phase < Phase.POWERING_ON or discard:
        return None
    if wrote:
        return RollbackError(f"run {mark.run} of {mark.by}", f"its cluster {wrote}", ways_out(mark, wrote, hosts))
    return RollbackError(
        f"run {mark.run} of {mark.by}",
        "had turned Deephaven on, so the new cluster may hold writes that the old one has not",
        f"to save the new cluster to a file, then go back without those writes: {mark.rollback(hosts)}",
    )


def ways_out(mark: Marker, wrote: Wrote, hosts: str) -> str:
    """What can be done with a cluster that somebody wrote to, ready to paste."""
    back = f"pytest runbook/rollback --hosts={hosts} --discard-new-writes"
    close = f"if people finished it: pytest runbook/close --hosts={hosts}"
    if wrote.runs:
        return f"{close}; to save it and go back: {back}"
    return (
        f"start etcd on its members, then {close}, or, to save it and go back: {back}; or leave it down and go back "
        "by that same command: its data is moved aside, never deleted"
    )


def written_meanwhile(mark: Marker, wrote: Wrote, hosts: str) -> RollbackError:
    """Since this rollback had begun."""
    remedy = f"to save it and go back: {mark.rollback(hosts)}"
    return RollbackError(f"run {mark.run} of {mark.by}", f"its cluster {wrote}. Deephaven is off now", remedy)


def too_many_left(terms: Terms, mark: Marker, hosts: Sequence[str]) -> RollbackError | None:
    """Why a run cannot be rolled back on machines that were gone meanwhile: together they may have taken writes."""
    members = [host for host in terms.member_hosts if host in hosts]
    if mark.phase < Phase.POWERING_ON or 2 * len(members) <= len(terms.member_hosts):
        return None
    return RollbackError(
        ", ".join(members),
        f"were gone while run {mark.run} was rolled back, and are a majority of its members: what they took since then "
        "is in no save",
        "save it from one of them, then go back there by hand",
    )


def without_record(mark: Marker, records: Mapping[str, Record | None]) -> dict[str, str | Exception | None]:
    """host → what is wrong with its record. A run that changed nothing yet needs none."""
    needed = mark.phase > Phase.OPEN
    return {host: "no record of it" if found is None and needed else None for host, found in records.items()}


# -- the new cluster goes ------------------------------------------------------------------------------------------


def turn_deephaven_off(
    terms: Terms, differences: Mapping[str, Difference], hosts: Sequence[str] | None = None
) -> list[Command]:
    """Before anything is taken away; not where nothing is left to undo. `hosts`: all of Deephaven's if not said."""
    if not any(differences.values()):
        return []
    hosts = terms.deephaven_hosts if hosts is None else hosts
    return [deephaven.monit(terms.inventory, host, up=False) for host in hosts]


def stop_etcd(inventory: Inventory, units: Mapping[str, Unit], differences: Mapping[str, Difference]) -> list[Command]:
    """On every host that is not as it was; an old etcd that the run never touched goes on."""
    unit = inventory.etcd.unit
    return [
        Command(host, ("systemctl", "stop", unit), f"stop {unit}", deadline=LONG)
        for host, found in differences.items()
        if found and units[host].running
    ]


def set_aside(terms: Terms, differences: Mapping[str, Difference]) -> list[Command]:
    """Moves what the run brought into the run's directory: unit, configuration, links, data, archives."""
    plan: list[Command] = []
    for host, found in differences.items():
        if found.brought:
            plan.append(act(host, "mkdir", "-p", terms.brought, why="where what the run brought is kept"))
        plan += [away(host, path, terms.brought) for path in found.brought]
        if found.brought:
            plan.append(act(host, "systemctl", "daemon-reload", why="systemd forgets the new unit"))
    return plan


def away(host: str, path: str, kept: str) -> Command:
    """One path moved into the directory `kept`, named after where it was. Data may have to go to another disk."""
    target = f"{kept}/{path.strip('/').replace('/', '_')}"
    return act_long(host, "mv", "--backup=numbered", "-T", path, target, why=f"set {path} aside", deadline=HUGE)


# -- the old state comes back --------------------------------------------------------------------------------------


def put_back(terms: Terms, differences: Mapping[str, Difference], records: Mapping[str, Record]) -> list[Command]:
    """Copies what is lacking from the run's record, with owner and mode. Old data was never touched."""
    plan: list[Command] = []
    for host, found in differences.items():
        recorded = {
            entry.path
            for entry in records[host].entries
            if not baseline.is_data(entry.path, terms.inventory.etcd.data_root)
        }
        back = [path for path in found.lacking if path in recorded]
        plan += [
            act_long(host, "cp", "-a", "-T", baseline.copy_of(terms, path), path, why=f"put {path} back")
            for path in back
        ]
        for entry in found.retouched:
            plan.append(act(host, "chown", entry.owner, entry.path, why=f"{entry.path} belongs to whom it did"))
            plan.append(act(host, "chmod", entry.mode, entry.path, why="with its mode"))
            if entry.label and host in terms.labels:
                plan.append(act(host, "chcon", entry.label, entry.path, why="with its label"))
        if back and not all(entry.label for entry in records[host].entries):  # else the copies have theirs
            plan += labels.of_configuration(terms, host)
        if back:
            plan.append(act(host, "systemctl", "daemon-reload", why="systemd learns the old unit"))
    return plan


def start_etcd(inventory: Inventory, units: Mapping[str, Unit], records: Mapping[str, Record]) -> list[Command]:
    """Where it ran before. Without waiting: a member without quorum never gets ready, as it was before the run."""
    unit = inventory.etcd.unit
    return [
        act(host, "systemctl", "start", "--no-block", unit, why=f"{unit} ran before the run")
        for host, record in records.items()
        if record.running and not units[host].running
    ]


def turn_deephaven_back(terms: Terms, on: Mapping[str, bool | None], records: Mapping[str, Record]) -> list[Command]:
    """On where it was on, the configuration server first. The exit code tells nothing: the old etcd may be dead."""
    hosts = sorted(terms.deephaven_hosts, key=lambda host: host != terms.configuration_server)
    return [
        replace(up, why="turn Deephaven on again, as before the run", accept=None)
        for up in (deephaven.monit(terms.inventory, host, up=True) for host in hosts)
        if up.host in records and records[up.host].deephaven and on[up.host] is False
    ]


def close(terms: Terms, hosts: Sequence[str]) -> list[Command]:
    """Notes in the run's own directory that it was undone, which outlasts its mark."""
    why = "note that the run was rolled back"
    return [act(host, "touch", terms.place(history.UNDONE), why=why) for host in hosts]


# -- room ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Disk:
    """Bytes that must move to another disk when something is set aside, and how many are free there."""

    moving: int
    free: int

    @property
    def lacks(self) -> str | None:
        return f"{self.free:,} of {self.moving:,} bytes" if self.moving > self.free else None


# $0: the run's directory; then what will be moved there. Prints what is free, then the size of what lies elsewhere.
_SIZES = r"""
df -P -B1 "$0" | awk 'NR == 2 { print $4 }'
home=$(stat -c %d "$0") || exit 1
for path; do
    [ -e "$path" ] && [ ! -L "$path" ] && [ "$(stat -c %d "$path")" != "$home" ] || continue
    du -s -B1 "$path" | cut -f 1
done
"""


def ask_disk(terms: Terms, host: str, paths: Iterable[str]) -> Question[Disk]:
    command = look(host, "sh", "-c", _SIZES, terms.place(), *paths, why="room for what is set aside", accept=(0,))
    return Question(command, _read_disk)


def _read_disk(result: Result) -> Disk:
    free, *moving = (int(word) for word in result.stdout.split())
    return Disk(sum(moving), free)


# -- the new cluster is saved, past the point of no return ---------------------------------------------------------


def runs_the_new_cluster(
    terms: Terms, units: Mapping[str, Unit], configs: Mapping[str, MemberConfig | None]
) -> tuple[str, ...]:
    """Hosts where the run's new etcd runs."""
    return tuple(host for host in terms.member_hosts if is_new(terms, configs[host]) and units[host].running)


def loss(kept: str | None) -> Loss:
    """What going back loses. `kept`: where the discarded cluster was saved; None where nobody was seen to write."""
    if kept is None:
        return Loss(0, 0, "the new cluster was looked at: nobody but the run itself had written into it")
    return Loss(None, None, f"what was written into the new cluster is in {kept} alone")


def loss_aside(terms: Terms, beyond: int | None) -> Loss:
    """What going back loses where the discarded cluster does not run. `beyond` as `Wrote` has it."""
    why = f"what was written into the new cluster is in its data alone, in {terms.brought} on each member"
    return Loss(beyond, None, why)


def cannot_be_saved(endpoint: str, words: str) -> RollbackError:
    return RollbackError(endpoint, f"could not be saved: {words}", "nothing was taken away yet; run the same again")
