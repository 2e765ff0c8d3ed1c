"""One run of a procedure: who takes part, its mark and its evidence, and the three verbs of a stage.

`ask` gathers facts, `do` carries out a plan, `prove` asserts something about hosts in parallel.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, cast

from requorum import version
from requorum.command import Action, Command, Copy, Result, stop_all
from requorum.evidence import report, signature
from requorum.evidence.journal import Journal, now
from requorum.evidence.redaction import redact
from requorum.evidence.syslog import Anchor, write
from requorum.hosts.fleet import Fleet, FleetError, Machine, Unreachable, raise_all
from requorum.hosts.kept import Lock
from requorum.hosts.probe import Probed
from requorum.hosts.question import Question
from requorum.hosts.watch import Watch
from requorum.inventory import Inventory
from requorum.refusal import Disproved, Refusal
from requorum.run import history, lock, marker
from requorum.run.aftermath import is_own
from requorum.run.history import Birth
from requorum.run.lock import Holder, born, myself
from requorum.run.marker import Marker, Phase
from requorum.run.state import Seen
from requorum.run.terms import Options, Terms

INTERVAL = 0.1  # seconds between two looks; one look over multiplexed ssh costs about a third of it
PATIENCE = 8  # of the time that was waited, this part is waited until the next look

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class Section:
    """A procedure's part of the end of its run, asked for when that has come, however it did."""

    fields: Callable[[], Mapping[str, object]]  # of summary.json, in place of the defaults in `Run.summary`
    closing: Callable[[], Sequence[str]] = tuple  # lines for the operator


@dataclass
class Step:
    """What a step took so far. Assertions are per host."""

    name: str
    seconds: float = 0.0
    commands: int = 0
    assertions: int = 0


class Run:
    """One run of a procedure on the inventory's hosts. Created once a session by `conftest.py`."""

    def __init__(self, inventory: Inventory, options: Options, journal: Journal, fleet: Fleet) -> None:
        self.inventory = inventory
        self.options = options
        self.journal = journal
        self.fleet = fleet
        self.terms = Terms(inventory, _new_mark(inventory, options.operator), options.gone)
        self.carrying_on = False
        self.acts = True  # False where it is only shown what a run would do: then nothing is locked and nobody asked
        self.lock: lock.Holder | None = None  # what this run holds
        self.shown = False  # the lock is in a plan, so letting it go is too
        self.let_go = False  # the lock was held, and is not any more
        self.changed = False  # what is not ours alone was handed to the hosts to be changed
        self.reached: dict[Phase, str] = {}  # when this process set which phase
        self.seen: Seen | None = None  # how things stand on the hosts at the end
        self.lost = ""  # the token of the cluster that was lost, once the hosts told
        self.approved: dict[str, str] | None = None  # the plan that a second person approved, once it was found to hold
        self.started = time.monotonic()
        self.stage: str | None = None
        self.steps: list[Step] = []
        self.unsigned = ""  # why there is no signature though the inventory names a key
        self.unanchored = ""  # why not every host was told of the journal's end
        self.notes: list[str] = []
        self.warned = False  # the stage holds, and its notes are no good news: no tick stands over them
        self.skipped = ""  # why the rest is passed over, which is no failure
        self.failed = ""  # what the first stage that failed said
        self.touched: list[str] = []
        self.probed: dict[str, Probed] = {}  # what hosts are like, of those that were asked
        self._placed: set[tuple[str, str]] = set()  # host and run whose directory this process has made there
        self._noted: dict[str, Birth] = {}  # what this process has noted on each host
        self._acted = 0.0  # the journal's action_seconds when the stage began
        self.watch = Watch()  # what the operator sees meanwhile
        self.last_words: list[str] = []  # what a procedure wants to say at its end
        self.sections: list[Section] = []
        self.table: list[dict[str, object]] = []  # drawn below the stage
        self.sources: list[dict[str, object]] = []  # what could be restored: drawn where the stage fails, or with -v

    # -- the run and its places ------------------------------------------------------------------------------

    @property
    def mark(self) -> Marker:
        return self.terms.mark

    def carry_on(self, mark: Marker, doing: str = "carrying on") -> None:
        """Takes over an earlier run: its staging, token and snapshot. Raises `MarkerError` for another cluster."""
        wanted, builds = _spelled(self.inventory), mark.members or "what its mark does not name"
        if mark.members != wanted:
            raise marker.MarkerError(
                "the inventory",
                f"run {mark.run} of {mark.by} is unfinished, and it builds {builds}, not {wanted}",
                f"ask {mark.by} whether it goes on, and use the inventory that it began with; how things stand is told "
                f"by pytest runbook/troubleshoot/diagnose --hosts={self.options.hosts}; only where nobody goes on with "
                "it, give it up (docs/night.md#giving-a-run-up)",
            )
        self.terms = replace(self.terms, mark=mark)
        self.carrying_on = True
        self.note(f"{doing} run {mark.run} of {mark.by}, which got to: {mark.phase.name.lower()}")

    def name_after(self, last: str) -> None:
        """A new run's name orders it behind the last one that the hosts know, whatever this machine's clock says."""
        if last < self.mark.run:
            return
        mine = self.mark.run
        self.terms = replace(self.terms, mark=_new_mark(self.inventory, self.options.operator, marker.began(last)))
        self.note(f"{mine} is called {self.mark.run}: by this machine's clock it would be before run {last}")

    def advance(self, mark: Marker, birth: Birth | None = None) -> None:
        """Writes the run's mark, and what its cluster comes from once that is chosen, on the configuration server, then
        on every other host; never back to an earlier phase, and not without the lock."""
        assert not self._only_looks, f"{self.stage} must not mark anything"
        assert mark.phase >= self.mark.phase, f"{self.stage} must not mark an earlier phase"
        self._mark(mark, self.terms.everyone, birth)

    def remark(self, mark: Marker, hosts: Sequence[str] | None = None) -> None:
        """Writes another mark of this run, the mark alone: for a rollback and a retry, which undo. On every host."""
        assert not self._only_looks, f"{self.stage} must not mark anything"
        self._mark(mark, self.terms.everyone if hosts is None else hosts)

    def _mark(self, mark: Marker, hosts: Sequence[str], birth: Birth | None = None) -> None:
        """On the configuration server first, and flushed: no host is ever further on than that. Where the lock lies
        there too, that mark is what proves it."""
        server, held = self.terms.configuration_server, self._lock_beside_the_mark()
        if held is None or server not in hosts:
            self.prove_lock()
        before = self.terms, dict(self.reached)
        self.terms = replace(self.terms, mark=mark)
        self.reached.setdefault(mark.phase, now())
        plan = {host: self._note_mark(host, mark, birth, held) for host in hosts}
        first = [plan.pop(server)] if server in plan else []
        try:
            for commands in (first, list(plan.values())):
                if commands:
                    self.do(commands, bookkeeping=True)
        except FleetError as error:
            try:
                self.prove_lock()  # says who has it, where that is why
            except lock.LockError:
                if held and commands is first and not isinstance(error, Unreachable):  # nothing is marked
                    self.terms, self.reached = before
                raise
            raise
        self._placed |= {(host, mark.run) for host in hosts}
        self._noted |= dict.fromkeys(hosts, birth) if birth else {}

    def _lock_beside_the_mark(self) -> Lock | None:
        """What the mark on the configuration server is held against."""
        words = self.lock.words() if self.lock else PLANNED if self.shown else ""
        if words and lock.place(self.terms) == self.terms.configuration_server:
            return Lock(lock.path(self.inventory.cluster), words)
        return None

    def _note_mark(self, host: str, mark: Marker, birth: Birth | None, held: Lock | None) -> Command:
        """A host's mark, and the birth where it is another one than this process has noted there."""
        cluster = self.inventory.cluster
        also = history.birth_file(cluster, birth) if birth and birth != self._noted.get(host) else None
        if host == self.terms.configuration_server:
            return marker.write_first(host, cluster, mark, held, also)
        return marker.write(host, cluster, mark, also, placed=(host, mark.run) in self._placed)

    def prove_lock(self) -> None:
        """Raises `LockError` when somebody cleared this run's lock while it was at work."""
        if self.lock is None:
            return
        host, name = lock.place(self.terms), self.inventory.cluster
        found = self.ask({host: lock.ask_holder(host, name)})[host]
        if found != self.lock:
            self.lock = None
            raise lock.lost(host, found)

    @property
    def health_seconds(self) -> float:
        return self.inventory.limits.health_seconds

    # -- stages ----------------------------------------------------------------------------------------------

    def begin(self, nodeid: str) -> None:
        """A stage starts: its notes and hosts are its own. The first of a step anchors the step that ended."""
        if self.steps and self.steps[-1].name != nodeid.split("::")[1]:
            self.anchor()
        self.stage = nodeid
        self.notes.clear()
        self.warned = False
        self.touched.clear()
        self._acted = self.journal.action_seconds
        self.table, self.sources = [], []
        self.journal.record("stage", stage=nodeid)

    def end(self, nodeid: str, outcome: str, seconds: float, why: str) -> None:
        self.failed = self.failed or (why if outcome == "failed" else "")
        name = nodeid.split("::")[1]
        if not self.steps or self.steps[-1].name != name:
            self.steps.append(Step(name))
        step = self.steps[-1]
        step.seconds += seconds
        step.commands = self.journal.commands - sum(s.commands for s in self.steps[:-1])
        step.assertions = self.journal.assertions - sum(s.assertions for s in self.steps[:-1])
        acting = round(min(self.journal.action_seconds - self._acted, seconds), 3)
        fields = {"outcome": outcome, "seconds": round(seconds, 3), "acting": acting, "why": why}
        self.journal.record("stage ended", stage=nodeid, **fields)

    def anchor(self) -> None:
        """Tells every host's syslog how far the journal is: at the end of each step, and of the run."""
        if self.steps and not self.options.looks:  # otherwise nothing was done, and no host needs to hear of it
            leave_anchor(self.fleet, self.terms.everyone, self.inventory.cluster)

    def close(self, outcome: str, stopped_at: str | None, started: str) -> Path:
        """`summary.json` and `report.html`; then the last record: it has their SHA-256, and hosts are told of it."""
        path = self.journal.summary(self.summary(outcome, stopped_at, started))
        written = [file for file in (path, report.attempt(self.journal.directory)) if file]
        files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in written}
        end: dict[str, object] = {"outcome": outcome, "stopped_at": stopped_at, "files": files}
        if key := self.inventory.evidence.sign:
            seconds = signature.SECONDS * self.options.timeout_scale
            signed = signature.sign({**end, "previous": self.journal.head}, key, seconds)
            self.unsigned = f"The evidence is not signed: {signed.why}" if signed.why else ""
            end |= signed.fields()
        self.journal.record("end", **end)
        if self.steps and self.acts and not self.options.looks:
            try:
                self.unanchored = self._anchor_end()
            except OSError as error:  # for want of a place for its connections
                self.unanchored = f"The end is not anchored in any syslog: {error}"
        return path

    def _anchor_end(self) -> str:
        """By connections of its own where the run's have ended; nothing of it is recorded. What went wrong."""
        name, records, head = self.journal.anchor()
        if not records:
            return "The end is not anchored in any syslog: the disk here took no record of this run"
        plan = write(self.terms.everyone, self.inventory.cluster, Anchor(name, records, head))
        with tempfile.TemporaryDirectory(prefix="rq-") as scratch:
            unrecorded, scale = Journal(Path(scratch)), self.options.timeout_scale
            if self.fleet.let_go:
                with Fleet(self.inventory, unrecorded, self.options.concurrency, scale, self.fleet.password) as fleet:
                    answers = fleet.gather(plan)
            else:
                self.fleet.journal = unrecorded
                answers = self.fleet.gather(plan)
        untold: dict[str, list[str]] = {}
        for host, of in answers.items():
            if not _told(of):
                why = of.what if isinstance(of, Refusal) else str(of) if isinstance(of, Exception) else of[-1].words
                untold.setdefault(why, []).append(host)
        silent = "; ".join(f"{', '.join(hosts)}: {why}" for why, hosts in untold.items())
        return f"The end is not anchored in every syslog: {silent}" if silent else ""

    # -- the three verbs -------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A line for the operator, shown below the stage."""
        text = redact(text)
        self.notes.append(text)
        self.journal.record("note", text=text)

    def warn(self, text: str) -> None:
        """A note that is no good news, such as a fallback, a loss, or a word of the operator's that was taken."""
        self.warned = True
        self.note(text)

    def ask(self, questions: Mapping[K, Question[T]]) -> dict[K, T]:
        """Facts, all hosts at once: each question's value under its own key."""
        commands = [command for question in questions.values() for command in question.commands]
        queues: dict[str, deque[Result]] = {}
        for result in self.look(commands):
            queues.setdefault(result.command.host, deque()).append(result)
        return {
            key: question.understand([queues[question.host].popleft() for _ in question.commands])
            for key, question in questions.items()
        }

    def look(self, commands: Sequence[Command]) -> list[Result]:
        """What hosts say as they say it: runs commands that change nothing, in parallel over hosts."""
        changing = [command for command in commands if command.changes]
        assert not changing, f"a question must not change anything: {changing}"
        return self.fleet.run(commands)

    def do(self, plan: Sequence[Action], bookkeeping: bool = False) -> list[Result]:
        """Carries out a plan; an empty one was done already. Bookkeeping is not shown as a stage's work."""
        assert bookkeeping or not self._only_looks, f"{self.stage} must not act"
        return self._carry_out(plan, bookkeeping)

    def probe(self, plan: Sequence[Action]) -> list[Result]:
        """What a Then may write to prove something, all of it in `probes`: it is taken away again, and is no data."""
        return self._carry_out(plan)

    @property
    def _only_looks(self) -> bool:
        """Whether the stage is a Given or a Then."""
        return self.stage is not None and not self.stage.split("::")[-1].startswith("test_when_")

    def attempt(self, plan: Sequence[Command]) -> dict[str, FleetError]:
        """Carries out each host's own commands; what failed, by host. One that does not answer is raised."""
        return self.severally(plan)[1]

    def severally(self, plan: Sequence[Command]) -> tuple[list[Result], dict[str, FleetError]]:
        """The same, with what the commands gave."""
        assert not self._only_looks, f"{self.stage} must not act"
        with self._acting(plan):
            return self.fleet.severally(plan)

    def _carry_out(self, plan: Sequence[Action], bookkeeping: bool = False) -> list[Result]:
        with self._acting(plan, bookkeeping):
            return self.fleet.run(plan)

    def stretched(self, plan: Sequence[Action]) -> list[Action]:
        """As the fleet will run it."""
        become = self.inventory.transport.as_root
        return [action.stretched(self.options.timeout_scale).for_root(become) for action in plan]

    @contextmanager
    def _acting(self, plan: Sequence[Action], bookkeeping: bool = False) -> Iterator[None]:
        for action in plan:
            hosts = [h for h, _ in action.targets] if isinstance(action, Copy) else [action.host]
            if not bookkeeping:
                self.touched += [host for host in hosts if host not in self.touched]
            self.changed = self.changed or not is_own(action)
        self.watch.on(self.touched)
        self.journal.planned(self.stretched(plan))
        started = time.monotonic()
        try:
            yield
        finally:
            self.journal.action_seconds += time.monotonic() - started

    def prove(
        self,
        hosts: Iterable[str],
        claim: str,
        probe: Callable[[Machine], str | None],
        remedy: str,
        within: float = 0,
    ) -> None:
        """Asserts `claim` on every host in parallel, polling `within` seconds. `probe` gives None or what it found.

        Raises `Disproved` that names every host where it does not hold, or the `Unreachable` of one that is silent.
        """
        hosts = tuple(hosts)
        self.watch.on(hosts)
        outcomes = self.fleet.each(hosts, lambda m: self.wait(lambda: probe(m), within))
        self.settle(claim, outcomes, remedy)

    def wait(
        self, look: Callable[[], str | None], within: float, every: float = INTERVAL, least: float = 0
    ) -> str | None:
        """Looks until it holds, for `within` seconds as --timeout-scale stretches them; what it found last. `least`:
        what it does not shorten, since the time itself proves something."""
        return until_holds(look, max(within * self.options.timeout_scale, least), every=every)

    def settle(self, claim: str, outcomes: Mapping[str, str | Exception | None], remedy: str) -> None:
        """Records the outcome on every host and raises what does not hold."""
        self.touched += [host for host in outcomes if host not in self.touched]
        errors = [outcome for outcome in outcomes.values() if isinstance(outcome, Exception)]
        findings = {host: found for host, found in outcomes.items() if isinstance(found, str)}
        for host, found in outcomes.items():
            self.journal.assertion(host, claim, None if found is None else str(found))
        if errors:
            raise_all(errors)
        if findings:
            raise Disproved(claim, findings, remedy)

    # -- evidence --------------------------------------------------------------------------------------------

    def hand_in(self, section: Section) -> None:
        self.sections.append(section)

    @property
    def handed_in(self) -> dict[str, object]:
        """The procedures' own fields of `summary.json` as they are now."""
        return {name: value for section in self.sections for name, value in section.fields().items()}

    @property
    def seconds(self) -> float:
        """How long the run took so far."""
        return time.monotonic() - self.started

    def summary(self, outcome: str, stopped_at: str | None, started: str) -> dict[str, object]:
        """`summary.json`: docs/reference.md#summaryjson."""
        total = self.seconds
        acting = min(self.journal.action_seconds, total)
        content = {
            "schema": 1,
            "version": version.told(),
            "cluster": self.inventory.cluster,
            "run": self.mark.run,
            "outcome": outcome,
            "stopped_at": stopped_at,
            "started": started,
            "finished": now(),
            "recovery_seconds": {
                "total": round(total, 2),
                "action_seconds": round(acting, 2),
                "proof_seconds": round(total - acting, 2),
            },
            "snapshot": None,
            "sources": [],
            "unproven": [],
            "data_loss": {"certain": None, "possible": None, "why": "no snapshot was chosen"},
            "members": [],
            "estimate": None,
            "gone": list(self.terms.gone),
            "accepted": list(self.options.accepted.words),
            "approved": self.approved,
            "findings": [],
            "causes": [],
            "state": self.seen.fields() if self.seen else None,
            "steps": [{**asdict(step), "seconds": round(step.seconds, 2)} for step in self.steps],
        }
        own = self.handed_in
        assert own.keys() <= content.keys(), f"no fields of summary.json: {sorted(own.keys() - content.keys())}"
        return content | own

    def closing(self, outcome: str) -> list[str]:
        """Lines for the operator: what came of it, what is lost."""
        lines = list(self.last_words)
        content = self.summary(outcome, None, "")
        if outcome == "recovered":
            seconds = cast("dict[str, float]", content["recovery_seconds"])
            lines.append(
                f"Recovered in {seconds['total']:.1f} s: {seconds['action_seconds']:.1f} s acting, "
                f"{seconds['proof_seconds']:.1f} s proving; {self.journal.assertions} assertions, "
                f"{self.journal.commands} commands."
            )
            lines.append(f"Data loss: {cast('dict[str, str]', content['data_loss'])['why']}.")
        return lines + [line for section in self.sections for line in section.closing()]

    @property
    def page(self) -> Path:
        """What of the evidence is to be read."""
        return (self.journal.directory / "report.html").absolute()


def _spelled(inventory: Inventory) -> str:
    """The cluster to build, as the mark keeps it."""
    return " ".join(f"{member.name}={member.host}/{member.ip}" for member in inventory.members)


def _new_mark(inventory: Inventory, operator: str, after: datetime | None = None) -> Marker:
    """A run of its own: its name is its UTC start and a few random digits, its token never used before. `after`: when
    the last run began, as its name says."""
    start = max(datetime.now(UTC), after + timedelta(seconds=1)) if after else datetime.now(UTC)
    stamp = start.strftime("%Y%m%dt%H%M%Sz") + f"-{secrets.token_hex(3)}"
    token = f"{inventory.cluster.lower()}-{stamp}"
    return Marker(run=stamp, token=token, phase=Phase.OPEN, by=operator, members=_spelled(inventory))


def _told(answer: list[Result] | Exception) -> bool:
    return not isinstance(answer, Exception) and answer[-1].code == 0


def leave_anchor(fleet: Fleet, hosts: Sequence[str], cluster: str) -> None:
    """Tells every host how far the journal is. Where that fails the journal says so and the recovery goes on."""
    name, records, head = fleet.journal.anchor()
    if not records:
        return
    try:
        results = fleet.run(write(hosts, cluster, Anchor(name, records, head)))
        lacking = "; ".join(f"{r.command.host}: {r.words}" for r in results if r.code)
    except Refusal as refusal:
        lacking = str(refusal)
    if lacking:
        fleet.journal.record("note", text=f"not anchored in every syslog: {lacking}")


def until_holds(
    look: Callable[[], str | None],
    within: float,
    clock: Callable[[], float] = time.monotonic,
    every: float = INTERVAL,
) -> str | None:
    """`look` gives None when it holds, else what was found. Returns the last finding, None on success.

    `within` in seconds; 0 looks once. `every` is the least pause: it grows with the time, since looks take a processor
    from what is waited for. At least one look is made after the deadline, so that a slow look is not taken for a
    failure.
    """
    began = clock()
    deadline = began + within
    while True:
        last = clock() >= deadline
        found = look()
        if found is None or last:
            return found
        pause = max(every, (clock() - began) / PATIENCE)
        time.sleep(min(pause, max(deadline - clock(), 0)))


_ENDED = "the holder's process has ended"
PLANNED = "‹holder›"  # in a plan, where a run has its holder's words


def take_lock(run: Run, ends: bool = True) -> None:
    """Takes the lock, from this operator's own dead run too; then, unless told not to, ends what such a run may have
    left running: on all hosts, so they must answer.

    Held already it stays held, so that a procedure may have the runbook's own steps in it. A plan only shows it.
    Raises `LockError` that names whoever holds it.
    """
    if run.lock is not None or run.shown:
        run.note("locked by this run already")
        return
    host, name = lock.place(run.terms), run.inventory.cluster
    left = [stop_all(h, "end what a run that was cut off left running") for h in run.terms.everyone if ends]
    if not run.acts:
        run.shown = True
        taking = lock.take(host, name, PLANNED)
        found = run.ask({host: lock.ask_holder(host, name)})[host]
        if found is not None and lock.is_gone(found, myself(), born):
            taking += [lock.drop(host, name, found.words(), _ENDED), *taking]
        run.do([*taking, *left])
        return
    run.lock = mine = myself()  # before it is tried: if the answer is lost, the end of the run still lets it go
    found = _try(run, host, mine)
    if found is not None and found != mine and lock.is_gone(found, mine, born):
        run.note(f"the lock of {found} is taken over: that process has ended")
        run.do([lock.drop(host, name, found.words(), _ENDED)])
        found = _try(run, host, mine)
    if found != mine:
        run.lock = None
        raise lock.held(host, name, found, lock.reading(run.inventory, host), lock.clearing(run.inventory, host))
    run.do(left)


def _try(run: Run, host: str, mine: Holder) -> Holder | None:
    name = run.inventory.cluster
    return lock.ask_holder(host, name).understand(run.do(lock.take(host, name, mine.words()))[-1:])


def release_lock(run: Run) -> None:
    """At the end of a run, however it ended, so it never raises. Where it fails, the operator's next run takes over."""
    host, name, why = lock.place(run.terms), run.inventory.cluster, "let the lock go"
    if run.shown:
        run.do([lock.drop(host, name, PLANNED, why)], bookkeeping=True)
    if run.lock is None:
        return
    try:
        run.fleet.run([lock.drop(host, name, run.lock.words(), why)])
        run.lock, run.let_go = None, True
    except Refusal as refusal:
        run.journal.record("note", text=f"the lock could not be let go: {refusal}")
        read, clear = lock.reading(run.inventory, host), lock.clearing(run.inventory, host)
        run.last_words.append(
            f"The lock may stay on {host}: your next run from this machine takes it over. Anybody else reads whose it "
            f"is: {read} and only if it is this run's (process {os.getpid()}) clears it: {clear}"
        )
