"""Many hosts at once: the only module that acts.

Runs commands and checks in parallel over hosts, one thread of work a host, streams copies through this machine
without storing them, and holds every deadline, stretched here by --timeout-scale. It decides nothing: what to run
comes from planners as `Command`s. testinfra objects for assertions come from `Machine.see`. ssh is multiplexed.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import testinfra

from requorum.command import Action, Collect, Collected, Command, Copy, Fetch, Result, look
from requorum.deadlines import SHORT, STALLED, stretched
from requorum.evidence.journal import Journal
from requorum.evidence.redaction import redacted_lines
from requorum.hosts import batch, bounded, cipher, interrupt, line, looks, pour, shell, thin
from requorum.hosts.failure import AGAIN, NO_LOGIN, REACH, SHELL, endless, failure, is_failure
from requorum.hosts.failure import FleetError as FleetError
from requorum.hosts.failure import Unreachable as Unreachable
from requorum.hosts.failure import raise_all as raise_all
from requorum.hosts.lanes import side_by_side
from requorum.hosts.machine import Machine as Machine
from requorum.hosts.meeting import PERSIST, SSH, Doorkeeper, NoLogin, last_line
from requorum.hosts.password import Password, Root
from requorum.hosts.shell import Login
from requorum.hosts.stream import StreamError, Went, fan_out, lines_of
from requorum.hosts.watch import Watch
from requorum.inventory import Inventory

T = TypeVar("T")

# What ssh and the way there may cost on top of a command's own deadline, in seconds.
GRACE = 20


def _queues(commands: Sequence[Command]) -> dict[str, list[Command]]:
    """Each host's, in their order."""
    return {host: [c for c in commands if c.host == host] for host in dict.fromkeys(c.host for c in commands)}


class Fleet:
    """All machines of an inventory. Use as a context manager: leaving it ends the shared connections."""

    def __init__(
        self,
        inventory: Inventory,
        journal: Journal,
        concurrency: int | None = None,
        scale: float = 1.0,
        password: Password | None = None,
    ) -> None:
        self.inventory = inventory
        self.password = password  # shared with every other fleet of the same run
        self._root = Root(inventory.transport.as_root, password)
        self.journal = journal
        self.scale = scale  # of every deadline
        self._grace = GRACE * scale
        self._sockets = Path(tempfile.mkdtemp(prefix="rq-"))
        self._control_names: list[str] = []
        self._mark = secrets.token_hex(16)  # before what a host answers: nothing that it prints by itself is this
        self.logins: dict[str, Login] = {}  # of hosts that were reached by ssh
        self.patience: dict[str, float] = {}  # seconds that a host's sudo takes to answer, on top of any deadline
        self._used: dict[str, float] = {}  # when their connections were
        self.machines = {name: self._machine(name) for name in inventory.hosts}
        self._pool = ThreadPoolExecutor(
            max_workers=concurrency or inventory.limits.concurrency, thread_name_prefix="fleet"
        )
        self._running: set[interrupt.Running] = set()
        self._running_lock = threading.Lock()
        self._interrupted = threading.Event()
        self.let_go = False  # its connections are, by an interrupt or its end
        self._doorkeeper = Doorkeeper(self._mark, SHORT * scale + self._grace, self._interrupted.wait)
        self.watch = Watch()

    # -- connections -----------------------------------------------------------------------------------------

    def _machine(self, name: str) -> Machine:
        transport = self.inventory.transport
        address = self.inventory.address(name)
        options: dict[str, str] = {}
        if transport.backend == "ssh":
            control = str(self._sockets / str(len(self._control_names)))
            self._control_names.append(name)
            config = ("-F", transport.ssh_config) if transport.ssh_config else ()
            user = ("-o", f"User={transport.user}") if transport.user else ()
            ways = (
                *config,
                *user,
                *(word for option in SSH for word in ("-o", self._ssh_option(option))),
                "-o",
                f"ControlPath={control}",
            )
            prefix: tuple[str, ...] = ("ssh", *ways, address)
            options = {"ssh_extra_args": shlex.join(ways)}  # either may be who opens the shared connection
        elif transport.backend == "local":
            prefix = ("sh", "-c")
        else:
            user = ("-u", transport.user) if transport.user else ()
            prefix = (transport.backend, "exec", "-i", *user, address, "sh", "-c")
        login = f"{transport.user}@" if transport.user else ""
        seen = looks.bound(
            testinfra.get_host(f"{transport.backend}://{login}{address}", **options),
            SHORT * self.scale + self._grace,
            lambda line: self._carried(name, line, self._mark),
            self._mark,
        )
        lanes = self.password is None
        return Machine(name, prefix, seen, threading.Lock(), lambda c: self._look(self.machines[name], c), lanes)

    def _ssh_option(self, text: str) -> str:
        return re.sub(r"{(\d+)}", lambda found: str(stretched(int(found[1]), self.scale)), text)

    def _carried(self, host: str, line: str, mark: str = "") -> str:
        return shell.carried(line, mark, self.logins[host].shell if host in self.logins else "sh")

    def _late(self, machine: Machine, *deadlines: int) -> float:
        """Seconds after which commands with these deadlines have surely ended, with ssh, the way there and sudo."""
        return self._grace + sum(deadline + self.patience.get(machine.name, 0) for deadline in deadlines)

    def _brought(self, host: str, line: str, mark: str = "") -> tuple[str, ...]:
        """What runs here so that `line` runs there; `mark` stands before its answer."""
        return (*self.machines[host].prefix, self._carried(host, line, mark))

    def _by(self, command: Command, mark: str = "", around: Callable[[str], str] = str) -> tuple[str, ...]:
        """The same of one command where nobody needs its words in English; `around`: what is made of its line."""
        return self._brought(command.host, self._root.before(command) + around(command.streamed()), mark)

    def _meet(self, machine: Machine) -> None:
        """Opens the shared connection where none is left, and learns what the login's shell is like."""
        used = self._used.pop(machine.name, None)
        if self.inventory.transport.backend != "ssh" or (used and time.monotonic() - used < PERSIST):
            return
        self._refuse_if_interrupted(machine)
        met = self._doorkeeper.greet(cipher.quicker(self.inventory, machine.name, machine.prefix, self._grace))
        if isinstance(met, NoLogin):
            self._refuse_if_interrupted(machine)
            raise (FleetError if met.kind == "no shell" else Unreachable)(machine.name, met.why, NO_LOGIN[met.kind])
        self.logins[machine.name] = met

    def _prove_password(self, machine: Machine) -> tuple[int, str]:
        """Exit code and words of the one try."""
        self._refuse_if_interrupted(machine)
        process = self._root.trying(self._brought(machine.name, self._root.proof))
        heard = bounded.hear(process, None, bounded.LAST_WORDS, self._late(machine, stretched(SHORT, self.scale)))
        said = heard.err.decode(errors="replace")
        if heard.ended or (self.inventory.transport.backend == "ssh" and process.returncode == 255):
            raise Unreachable(machine.name, f"did not answer: {'late' if heard.ended else last_line(said)}", REACH)
        return process.returncode, said

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the shared ssh connections and the threads. Nothing of ours stays on this machine."""
        self.let_go = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self.inventory.transport.backend == "ssh" and any(self._sockets.iterdir()):
            enders = [
                subprocess.Popen(
                    (*machine.prefix[:-1], "-O", "exit", machine.prefix[-1]),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for machine in self.machines.values()
            ]
            for ender in enders:
                with contextlib.suppress(subprocess.TimeoutExpired):  # its connection ends with its process
                    ender.wait(timeout=self._grace)
                ender.kill()
        shutil.rmtree(self._sockets, ignore_errors=True)

    # -- running ---------------------------------------------------------------------------------------------

    def each(self, hosts: Iterable[str], work: Callable[[Machine], T]) -> dict[str, T | Exception]:
        """`work` on every host at the same time; what it raised stands in place of what it gave."""

        def guarded(name: str) -> T | Exception:
            machine = self.machines[name]
            try:
                with machine.lock:
                    self._meet(machine)
                    self._root.unlock(name, lambda: self._prove_password(machine))
                    found = work(machine)
                    self._used[name] = time.monotonic()
                    return found
            except RuntimeError as error:  # testinfra's word for "ssh ended with 255"
                return Unreachable(name, f"did not answer: {last_line(str(error))}", REACH)
            except Exception as error:
                return error
            finally:
                left.pop(name)
                self.watch.waiting(list(left), len(names))

        names = list(dict.fromkeys(hosts))
        left = dict.fromkeys(names)  # who has not answered yet
        futures = {name: self._pool.submit(guarded, name) for name in names}
        try:
            return {name: future.result() for name, future in futures.items()}
        except KeyboardInterrupt:
            self.watch.begin("Interrupted: what was started on the hosts is being stopped")
            self.interrupt()
            for future in futures.values():
                future.cancel()
            if not wait(futures.values(), timeout=self._grace).not_done:
                self._interrupted.clear()  # nothing is under way any more: what a run does at its end can be done
            raise

    def run(self, actions: Sequence[Action]) -> list[Result]:
        """Runs a plan: each host's commands in their order, hosts in parallel, a copy only after all before it.

        Raises `FleetError` that names every host that failed, after every other host has ended what it was at.
        """
        results: list[Result] = []
        wave: list[Command] = []
        for action in self._root.fit(action.stretched(self.scale) for action in actions):
            if isinstance(action, Copy | Fetch):
                results += self._wave(wave)
                wave = []
                self._copy(action) if isinstance(action, Copy) else self._fetch(action)
            else:
                wave.append(action)
        return results + self._wave(wave)

    def _wave(self, commands: list[Command]) -> list[Result]:
        outcomes = self._gather(commands)
        errors = [outcome for outcome in outcomes.values() if isinstance(outcome, Exception)]
        results = [r for outcome in outcomes.values() if isinstance(outcome, list) for r in outcome]
        failures = [failure(result) for result in results if not result.ok]
        raise_all([*errors, *failures])
        return results

    def severally(self, commands: Sequence[Command]) -> tuple[list[Result], dict[str, FleetError]]:
        """Each host's commands in their order: what they gave, and what failed, by host; it stops nothing on the
        others.

        Raises what says nothing of the command: an `Unreachable`, and what nobody foresaw.
        """
        failed: dict[str, FleetError] = {}
        outcomes = self.gather(commands)
        raise_all([o for o in outcomes.values() if isinstance(o, Exception) and not is_failure(o)])
        for host, outcome in outcomes.items():
            if isinstance(outcome, FleetError):
                failed[host] = outcome
            elif isinstance(outcome, list) and (ill := [result for result in outcome if not result.ok]):
                failed[host] = failure(ill[0])
        return [r for outcome in outcomes.values() if isinstance(outcome, list) for r in outcome], failed

    def gather(self, commands: Sequence[Command]) -> dict[str, list[Result] | Exception]:
        """Each host's commands in their order, hosts in parallel; what went wrong with a host stands in its place."""
        return self._gather(self._root.fit(command.stretched(self.scale) for command in commands))

    def glance(self, commands: Sequence[Command], seconds: float) -> dict[str, list[Result] | Exception]:
        """As `gather`, for so many seconds: who has not answered by then is let go, and nothing is run after it."""
        queues = _queues(commands)
        pool = ThreadPoolExecutor(max_workers=max(len(queues), 1))
        futures = {host: pool.submit(self.gather, queue) for host, queue in queues.items()}
        if wait(futures.values(), timeout=seconds * self.scale).not_done:
            self.interrupt()
            wait(futures.values(), timeout=1)
        pool.shutdown(wait=False, cancel_futures=True)
        return {
            h: f.result()[h] if f.done() else Unreachable(h, "did not answer in time", REACH)
            for h, f in futures.items()
        }

    def _gather(self, commands: Sequence[Command]) -> dict[str, list[Result] | Exception]:
        queues = _queues(commands)

        def work(machine: Machine) -> list[Result]:
            run = partial(self._in_order, machine)
            return side_by_side(run, queues[machine.name]) if machine.lanes else run(queues[machine.name])

        return self.each(queues, work)

    def _in_order(self, machine: Machine, commands: Sequence[Command]) -> list[Result]:
        """Up to the first that fails."""
        done: list[Result] = []
        for group in batch.batches(commands):
            done += self._one_trip(machine, group)
            if not done[-1].ok:
                break
        return done

    def _look(self, machine: Machine, commands: Sequence[Command]) -> list[Result]:
        """All of them, whatever each says."""
        changing = [command.shown() for command in commands if command.changes]
        assert not changing, f"a question must not change anything: {changing}"
        asked = self._root.fit(command.stretched(self.scale) for command in commands)
        told: list[Result] = []
        while len(told) < len(asked):
            told += self._one_trip(machine, next(batch.batches(asked[len(told) :])))
        return told

    def _one_trip(self, machine: Machine, group: list[Command]) -> list[Result]:
        self._root.refuse_if_barred(machine.name)
        return self._together(machine, group) if len(group) > 1 else [self._execute(machine, group[0])]

    def _printed(self, command: Command) -> bytes:
        """What a command prints, byte for byte, for another one's standard input. Raises `FleetError`; no word of what
        it printed is in that."""
        machine = self.machines[command.host]
        if command.host not in self.logins:
            self._meet(machine)
        self._root.refuse_if_barred(machine.name)
        result = self._execute(machine, command, "surrogateescape")
        if not result.ok:
            raise failure(replace(result, command=replace(command, secret=False), stdout=""))
        return result.stdout.encode(errors="surrogateescape")

    def _execute(self, machine: Machine, command: Command, errors: str = "replace") -> Result:
        given, then = pour.given(command, self._printed, self.inventory.snapshot.decrypt, self.watch)
        started = time.monotonic()
        with self._running_lock:  # so that an interrupt knows of it, or it is not started
            self._refuse_if_interrupted(machine)
            argv = self._brought(machine.name, self._root.before(command) + command.sent(), self._mark)
            process = self._root.start(argv, [command], given is not None)
            entry = ((command,), process)
            self._running.add(entry)
        try:
            heard = bounded.hear(process, given, command.most, self._late(machine, command.deadline), then)
        finally:
            with self._running_lock:
                self._running.discard(entry)
        parts = shell.answer(heard.out, self._mark.encode())
        ended = {"": "", "late": "\nno answer within the deadline", "much": "\nmore than was asked for"}[heard.ended]
        result = Result(
            command,
            process.returncode,
            (parts[1] if parts else heard.out).decode(errors=errors),
            heard.err.decode(errors="replace") + ended,
            time.monotonic() - started,
        )
        self._root.bar(machine.name, result.stderr)
        self.journal.command(result)
        self.journal.prove_kept()
        if self._interrupted.is_set() and not result.ok:
            raise FleetError(machine.name, "stopped, the run was interrupted", AGAIN)
        if heard.ended == "much":
            raise endless(command)
        if self.inventory.transport.backend == "ssh" and result.code in (255, -9):
            raise Unreachable(machine.name, f"did not answer: {last_line(result.stderr)}", REACH)
        if parts is None and result.code == 0:
            raise Unreachable(machine.name, f"did not run the command, and says: {result.words[:200]!r}", SHELL)
        return result

    def _together(self, machine: Machine, commands: list[Command]) -> list[Result]:
        """One trip for several commands; each is recorded as its result arrives."""
        mark, fed = secrets.token_hex(16), batch.fed(commands)
        with self._running_lock:
            self._refuse_if_interrupted(machine)
            argv = self._brought(machine.name, self._root.before(*commands) + batch.script(commands, mark), self._mark)
            process = self._root.start(argv, commands, bool(fed))
            entry = (tuple(commands), process)
            self._running.add(entry)
        assert process.stdout and process.stderr
        lines, last_words = bounded.Lines(process.stdout, commands[0].most), bounded.LastWords(process.stderr)
        watchdog = threading.Timer(self._late(machine, *(command.deadline for command in commands)), process.kill)
        watchdog.start()
        results: list[Result] = []
        before = time.monotonic()
        try:
            if process.stdin:
                with contextlib.suppress(BrokenPipeError), process.stdin:  # who has ended reads nothing, and says why
                    process.stdin.write(fed.encode())
            shell.skip(process.stdout, self._mark.encode())
            for command, frame in zip(commands, batch.frames(lines, mark), strict=False):
                now = time.monotonic()
                results.append(Result(command, frame.code, frame.stdout, frame.stderr, now - before))
                self._root.bar(machine.name, frame.stderr)
                self.journal.command(results[-1])
                before = now
                lines.allowed = commands[min(len(results), len(commands) - 1)].most
            if not lines.much:
                process.wait()
        finally:
            watchdog.cancel()
            bounded.end(process)
            with self._running_lock:
                self._running.discard(entry)
        self.journal.prove_kept()
        if results and (len(results) == len(commands) or not results[-1].ok):
            return results
        if self._interrupted.is_set():
            raise FleetError(machine.name, "stopped, the run was interrupted", AGAIN)
        said = "more than was asked for" if lines.much else last_words.said() or "the connection ended"
        cut = Result(commands[len(results)], process.returncode, "", said, time.monotonic() - before)
        self.journal.command(cut)
        if lines.much:
            raise endless(cut.command)
        self._root.bar(machine.name, said)
        self._root.refuse_if_barred(machine.name)
        raise Unreachable(machine.name, f"did not answer: {last_line(cut.stderr)}", REACH)

    def _refuse_if_interrupted(self, machine: Machine) -> None:
        self.journal.prove_kept()
        if self._interrupted.is_set():
            raise FleetError(machine.name, "not started, the run was interrupted", AGAIN)

    def interrupt(self) -> None:
        """Stops what was started on the hosts, then lets go of the connections. For Ctrl-C."""
        with self._running_lock:
            self._interrupted.set()
            self.let_go = True
            running = list(self._running)
        interrupt.end(running, self._root.fit_untried, self._stopping, self._stopped, self.scale)

    def _stopping(self, command: Command) -> subprocess.Popen[bytes]:
        """What ends something on a host, started beside whatever runs there."""
        return self._root.start(self._by(command), [command], False, stderr=subprocess.STDOUT)

    def _stopped(self, result: Result) -> None:
        self._root.bar(result.command.host, result.stderr)
        self.journal.command(result)

    # -- copies ----------------------------------------------------------------------------------------------

    def _measures(self, size: int, hosts: Iterable[str]) -> bool:
        """Whether a copy is worth compressing, and all these hosts can."""
        if self.inventory.transport.backend != "ssh" or size < thin.LEAST:
            return False
        asked = [look(host, *thin.CAN, why="can it compress a copy", root=False) for host in hosts]
        answers = self.gather(asked).values()
        return all(isinstance(answer, list) and answer[0].code == 0 for answer in answers)

    def _copy(self, copy: Copy) -> None:
        """Streams one file to many hosts and proves each copy by its SHA-256 before it gets its name."""
        self._wave([*copy.opens(), *copy.copies()])
        reader, writers = copy.reads(), {writer.host: writer for writer in copy.writes()}
        most = copy.most or (copy.bytes or 0 if reader else 0)
        hosts = [*writers, *([reader.host] if reader else [])]
        measured = bool(writers) and not copy.rate and self._measures(copy.bytes or 0, hosts)
        gives, takes = (thin.gives, thin.takes) if measured else (str, str)
        started = time.monotonic()
        self.watch.copying(copy.why, copy.bytes)
        try:
            went = (
                Went(copy.sha256 or "", 0)
                if not writers
                else fan_out(
                    self._by(reader, self._mark, gives) if reader else Path(copy.source),
                    {h: self._by(w, around=takes) for h, w in writers.items()},
                    timeout=copy.deadline + self._grace,
                    stalled=STALLED * self.scale,
                    tell=self.watch.copied if not copy.is_a_password else lambda size: None,
                    kind=copy.packed,
                    mark=self._mark if reader else "",
                    most=most if measured else copy.most,
                    rate=copy.rate,
                    decrypt=line.words(self.inventory.snapshot.decrypt or ""),
                    first=self._root.first,
                    measured=measured,
                )
            )
        except StreamError as error:
            where = copy.source_host or "this machine" if error.where == "source" else error.where
            raise self._broken(where, f"copy of {copy.source}: {error.what}", error) from None
        self.journal.record(
            "copy",
            action=copy.shown(),
            why=copy.why,
            **({} if copy.is_a_password else went.fields()),
            **({"held_to": copy.rate} if copy.rate else {}),
            seconds=round(time.monotonic() - started, 3),
        )
        if copy.sha256 and went.sha256 != copy.sha256:
            raise FleetError(
                copy.source_host or "this machine",
                f"{copy.source} changed while it was read: SHA-256 {went.sha256}, expected {copy.sha256}",
                "find out who writes to it, then run again",
            )
        self._prove_copies(copy, went.sha256)

    def _fetch(self, fetch: Fetch) -> None:
        """Streams a host's file to this machine, onto the disk; what is not whole is removed again."""
        reader = fetch.reads()
        measured = not fetch.paths and self._measures(fetch.bytes, [fetch.host])
        started = time.monotonic()
        self.watch.copying(fetch.why, fetch.bytes or None)
        target = Path(fetch.target)
        target.touch(mode=0o600)
        try:
            went = fan_out(
                self._by(reader, self._mark, thin.gives if measured else str),
                {"this machine": fetch.writes()},
                timeout=reader.deadline + self._grace,
                stalled=STALLED * self.scale,
                tell=self.watch.copied,
                mark=self._mark,
                most=fetch.bytes,
                first=self._root.first,
                to_sinks=False,
                measured=measured,
            )
        except StreamError as error:
            target.unlink(missing_ok=True)
            where = fetch.host if error.where == "source" else error.where
            raise self._broken(where, f"fetch of {fetch.source}: {error.what}", error) from None
        self.journal.record(
            "fetch",
            action=fetch.shown(),
            why=fetch.why,
            **({} if fetch.through else went.fields()),  # what was in clear is nobody's
            seconds=round(time.monotonic() - started, 3),
        )
        if fetch.sha256 and went.sha256 != fetch.sha256:
            target.unlink(missing_ok=True)
            what = f"{fetch.source} arrived altered: SHA-256 {went.sha256}, expected {fetch.sha256}"
            raise FleetError(fetch.host, what, AGAIN)

    def _broken(self, where: str, what: str, error: StreamError) -> FleetError:
        """A lost connection or a deadline says nothing about the file, so nothing may be concluded from it."""
        self._root.bar(where, error.what)
        cut = self.inventory.transport.backend == "ssh" and error.what.startswith("exit code 255")
        return (Unreachable if cut or error.late else FleetError)(where, what, AGAIN)

    def collect(self, items: Sequence[Collect]) -> dict[str, list[Collected] | Exception]:
        """Each host's output into files here, hosts in parallel; what a host raised stands in place of its own."""
        queues: dict[str, list[Collect]] = {}
        for item in items:
            item = replace(item, command=self._root.fit([item.command.stretched(self.scale)])[0])
            queues.setdefault(item.command.host, []).append(item)
        return self.each(queues, lambda machine: [self._collect(machine, item) for item in queues[machine.name]])

    def _collect(self, machine: Machine, item: Collect) -> Collected:
        """Streams one command's output through the redactor into its file; memory stays at one line."""
        self._root.refuse_if_barred(machine.name)
        started = time.monotonic()
        with self._running_lock:
            self._refuse_if_interrupted(machine)
            argv = self._by(item.command, self._mark, "{} 2>&1".format)
            process = self._root.start(argv, [item.command], False)
            entry = ((item.command,), process)
            self._running.add(entry)
        assert process.stdout and process.stderr
        last_words = bounded.LastWords(process.stderr)
        watchdog = threading.Timer(item.command.deadline + self._grace, process.kill)
        watchdog.start()
        path = Path(item.target)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        last = ""
        try:
            with path.open("w", encoding="utf-8", errors="replace") as file, process.stdout:
                shell.skip(process.stdout, self._mark.encode())
                for text in redacted_lines(lines_of(process.stdout, item.most)):
                    file.write(text)
                    last = text.strip() or last
                cut = bool(process.stdout.read(1))
                if cut:
                    file.write(f"\n… more than {item.most:,} bytes: the rest was left out\n")
                    process.terminate()
            code, said = process.wait(), last_words.said()
            self._root.bar(machine.name, last)
        finally:
            watchdog.cancel()
            with self._running_lock:
                self._running.discard(entry)
        code = 0 if cut else code
        # Its output is in the file, so it is no secret; a failure's last line is said in the journal as for any other.
        self.journal.command(Result(item.command, code, last if code else "", said, time.monotonic() - started))
        if self.inventory.transport.backend == "ssh" and code == 255:
            raise Unreachable(machine.name, f"did not answer: {last_line(said)}", REACH)
        return Collected(item, path.stat().st_size, cut, code, last_line(said + "\n" + last) if code else "")

    def _prove_copies(self, copy: Copy, digest: str) -> None:
        sums = self._wave(copy.checks())
        wrong = [r.command.host for r in sums if r.stdout.split(" ")[0].lstrip("\\") != digest]
        for host in wrong:
            digits = "" if copy.is_a_password else f" {digest}"
            self.journal.assertion(host, f"SHA-256{digits} of {copy.source}", "another SHA-256")
        if wrong:
            raise FleetError(", ".join(wrong), f"the copy of {copy.source} arrived altered", "run again; check disk")
        self._wave(copy.names())
