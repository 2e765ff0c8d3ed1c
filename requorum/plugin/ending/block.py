"""The last lines of a run, by content: a pure function of how it ended."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from requorum.evidence.journal import EvidenceError
from requorum.inventory import Inventory
from requorum.plugin.ending import logins, remedies
from requorum.plugin.ending.questions import QUESTIONS
from requorum.plugin.ending.remedies import by_hand_lines, pieces
from requorum.plugin.ending.signs import DISK, Sign, sign
from requorum.plugin.ending.standing import Did, named, standing
from requorum.plugin.ending.ways import RIDDLES, Said, Way, ways
from requorum.refusal import Disproved, NotApproved, NothingToDo, Refusal, Remedy
from requorum.run.lock import LockError
from requorum.run.marker import Phase
from requorum.run.state import Seen

LABEL = 11  # columns that a label takes
OR = "or, "  # how a choice begins
EITHER = "either, "  # how the first of several does, where what is first is none of them
LONGEST = 1200  # characters of one text: what is longer is whole in the report


@dataclass(frozen=True)
class Line:
    """`label` "" goes on below the one before; what is to `paste` is never wrapped."""

    label: str
    text: str
    paste: bool = False


@dataclass(frozen=True)
class Ended:
    """How a run ended. `stage`: the node ID where it stopped, None where it came to its end; `error`: None there too,
    and where it was interrupted; `lock`: what became of it, in words."""

    said: Said
    stage: str | None = None
    error: BaseException | None = None
    inventory: Inventory | None = None
    seen: Seen | None = None
    did: Did = field(default_factory=Did)
    evidence: str = ""
    lock: str = ""

    @property
    def name(self) -> str:
        return (self.stage or "").rsplit("::", 1)[-1]

    @property
    def step(self) -> str:
        found = re.search(r"::TestStep(\d)", self.stage or "")
        return f"Step {found[1]}" if found else ""


def ending(ended: Ended) -> list[Line]:
    """The block, line by line; a line without content is left out."""
    error, faults = ended.error, at_fault(ended.error, ended.inventory)
    reasons = list(_reasons(error, ended.inventory))
    onward = list(_onward(ended))
    lines = [
        Line("Good news", error.news if isinstance(error, Refusal) else ""),
        Line("State", standing(ended.seen, ended.did, _damaged(reasons))),
        *_failed(ended, faults),
        Line("It said", "\n".join(_said(error, ended.inventory).splitlines())),
        Line("Cause", _cause(error, reasons)),
        *_labelled("Do first", _once(_first(ended, reasons), onward, ended.said)),
        *onward,
        Line("Evidence", "; ".join(filter(None, (ended.evidence, ended.lock)))),
        Line("Contact", (ended.inventory.notify.contact or "") if ended.inventory else ""),
    ]
    return [line for line in lines if line.text]


def _damaged(reasons: Sequence[Reason]) -> set[str]:
    """Whose disk does not read: what lies on it is no comfort."""
    return {host for one in reasons if one.sign and one.sign.first == DISK for host in one.hosts}


# -- what failed, and why ------------------------------------------------------------------------------------------


def at_fault(error: BaseException | None, inventory: Inventory | None) -> dict[str, list[str]]:
    """What is wrong → the hosts where it is; never the one that was only asked."""
    found: dict[str, list[str]] = {}
    for one in _parts(error, inventory):
        if isinstance(one, Disproved):
            for host, words in sorted(one.findings.items()):
                if one.hosts and host not in one.hosts:
                    continue
                hosts = _meant(words, inventory) if one.asked and inventory else (host,)
                found.setdefault(words, []).extend(hosts or (host,))
        else:
            words = one.brief or one.what.removesuffix(one.said).rstrip(": ")
            found.setdefault(words, []).extend(one.hosts or _places(one, inventory))
    return {words: list(dict.fromkeys(hosts)) for words, hosts in found.items()}


def told(error: BaseException | None, inventory: Inventory | None) -> list[str]:
    """Notes of a stage that say of a host what the last lines will say of it."""
    found = at_fault(error, inventory) if isinstance(error, Disproved) else {}
    return [f"{host}: {words}" for words, hosts in found.items() for host in hosts]


def _places(one: Refusal, inventory: Inventory | None) -> tuple[str, ...]:
    """Where it is: the hosts, where they are several."""
    hosts = tuple(one.where.split(", "))
    return hosts if inventory and inventory.hosts.keys() >= set(hosts) else (one.where,)


def _parts(error: BaseException | None, inventory: Inventory | None) -> Sequence[Refusal]:
    parts = (error.parts or (error,)) if isinstance(error, Refusal) else ()
    return [logins.placed(part, inventory) for part in parts]


def _meant(words: str, inventory: Inventory) -> tuple[str, ...]:
    """The machines of the members that these words name, by address or by name."""
    members = {m.host: (m.ip, m.name, m.host) for m in (*inventory.members, *inventory.old_members)}
    return tuple(h for h, names in members.items() if any(_names(words, name) for name in names))


def _names(words: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", words) is not None


@dataclass(frozen=True)
class Reason:
    """Why it fails on these hosts, as a sign tells it, and the remedy of its author."""

    hosts: tuple[str, ...]
    sign: Sign | None
    remedy: str


def _reasons(error: BaseException | None, inventory: Inventory | None) -> Iterator[Reason]:
    """Of each part, and of each host where they say different things."""
    for one in _parts(error, inventory):
        if isinstance(one, EvidenceError):  # what a disk says of itself would be taken for a host's
            yield Reason((one.where,), None, one.remedy)
            continue
        for words, hosts in at_fault(one, inventory).items():
            each = _each_said(one.said, hosts)
            for host, said in each.items() if each else ((", ".join(hosts), one.said),):
                mine = (host,) if each else tuple(hosts)
                yield Reason(mine, sign(said.strip() or words), one.remedy)


def _each_said(said: str, hosts: Sequence[str]) -> dict[str, str]:
    """What each of several hosts said, where each one's words stand behind its name at the start of a line."""
    if len(hosts) < 2:
        return {}
    _, *found = re.split(rf"^({'|'.join(map(re.escape, hosts))}): ", said, flags=re.M)
    return dict(zip(found[::2], found[1::2], strict=True)) if set(found[::2]) == set(hosts) else {}


def _said(error: BaseException | None, inventory: Inventory | None) -> str:
    """Each host's own words once."""
    words: dict[str, list[str]] = {}
    for one in _parts(error, inventory):
        if one.said.strip():
            words.setdefault(one.said.strip(), []).append(one.where)
    many = len(words) > 1
    return "\n".join(f"{named(hosts)}: {said}" if many else said for said, hosts in words.items())[:LONGEST]


def _failed(ended: Ended, faults: Mapping[str, Sequence[str]]) -> Iterator[Line]:
    error, question = ended.error, QUESTIONS.get(ended.name)
    where = f"{ended.step}, " if ended.step else ""
    words = ended.name.removeprefix("test_").partition("_")[2].replace("_", " ")
    if ended.stage is None:
        return
    if error is None or "the run was interrupted" in str(error):
        yield Line("Ended", f"{where}while “{words}”: Ctrl-C, or a signal to this process")
        return
    if not isinstance(error, Refusal):
        yield Line("Failed", f"{where}“{words}”: {type(error).__name__}: {_first_line(str(error)) or 'no words'}")
        return
    if question and isinstance(error, Disproved):
        yield Line("Asked", _answered(question, error.claim))
    lines = [f"{', '.join(hosts)}: {text}"[:LONGEST] for text, hosts in faults.items()]
    for number, line in enumerate(lines):
        yield Line("" if number else "Found" if question and isinstance(error, Disproved) else "Failed", line)
    if isinstance(error, Disproved) and not question:
        yield Line("", f"{where}expected: {_first_line(error.claim)}")


def _answered(question: str, claim: str) -> str:
    """Whether quorum is lost has more answers than two."""
    if claim.endswith("for good"):
        return f"{question.rstrip('?')} for good? No."
    if claim.endswith("of the old members agrees"):
        return f"{question} The members contradict each other."
    return f"{question} That is not known." if "is known to be" in claim else f"{question} No."


def _cause(error: BaseException | None, reasons: Sequence[Reason]) -> str:
    """One for all, or a line for each group of hosts that have one of their own."""
    if error is not None and not isinstance(error, Refusal):
        return "a fault of this runbook, not of your machines: nobody foresaw this. A rerun gives the same"
    if isinstance(error, LockError):
        return ""
    causes: dict[str, list[str]] = {}
    for one in reasons:
        causes.setdefault(one.sign.cause if one.sign else "", []).extend(one.hosts)
    if len(causes) == 1:
        return next(iter(causes))
    return "\n".join(f"{named(dict.fromkeys(hosts))}: {cause}" for cause, hosts in causes.items() if cause)


# -- what to do ----------------------------------------------------------------------------------------------------


def _first(ended: Ended, reasons: Sequence[Reason]) -> list[remedies.Piece]:
    """What to do, for each group of hosts that needs something of its own."""
    error = ended.error
    if error is None:
        return []
    if not isinstance(error, Refusal):
        return [remedies.Piece("keep the evidence, and give it to whoever looks after this runbook")]
    groups: dict[tuple[str, str], list[Reason]] = {}
    for one in reasons:
        first = one.sign.first if one.sign else ""
        said_better = first and not _choices(pieces(one.remedy, ended.said, ended.inventory, one.hosts))
        groups.setdefault((first, "" if said_better else one.remedy), []).append(one)
    found: list[remedies.Piece] = []
    offered: dict[str, list[remedies.Piece]] = {}  # by remedy: what it offers stands once, behind all that is first
    for (first, _), of in groups.items():
        hosts = list(dict.fromkeys(host for one in of for host in one.hosts))
        whole = _remedy(ended, of[0], hosts)
        if first:
            offered.setdefault(of[0].remedy, _choices(whole))
        else:
            offered[of[0].remedy] = []
        mine = _by_sign(ended, of[0], hosts) if first else whole
        found += _addressed(mine, hosts) if len(groups) > 1 else mine
    found += [piece for choices in offered.values() for piece in choices]
    return found or [remedies.Piece("nothing by hand: it may hold when it is run again")]


def _remedy(ended: Ended, one: Reason, hosts: list[str]) -> list[remedies.Piece]:
    """What its author wrote."""
    said, inventory, remedy = ended.said, ended.inventory, one.remedy
    text, argvs = (remedy.first or remedy, remedy.by_hand) if isinstance(remedy, Remedy) else (remedy, ())
    by_hand = by_hand_lines(argvs, inventory, hosts) if inventory else ()
    return [*pieces(text, said, inventory, hosts), *by_hand]


def _by_sign(ended: Ended, one: Reason, hosts: list[str]) -> list[remedies.Piece]:
    """What the sign says, and the line that says more."""
    said, inventory, shown = ended.said, ended.inventory, one.sign
    if shown is None:
        return []
    line = [remedies.Piece(said.line(shown.procedure), paste=True)] if shown.procedure else []
    line += [remedies.rules(said, inventory)] if shown.rules and inventory else []
    return [*pieces(shown.first, said, inventory, hosts), *line]


def _addressed(found: list[remedies.Piece], hosts: Sequence[str]) -> list[remedies.Piece]:
    """Whom it is for stands before it."""
    where = f"{', '.join(hosts)}:"
    if not found or found[0].paste:
        return [remedies.Piece(where), *found] if found else []
    return [remedies.Piece(f"{where} {found[0].text}"), *found[1:]]


def _choices(found: list[remedies.Piece]) -> list[remedies.Piece]:
    """What a remedy offers to paste, behind what a sign says: without the sentence in whose place that stands."""
    if not any(piece.paste for piece in found):
        return []
    return found[1:] if len(found) > 1 and found[1].text.startswith("or, ") else found


def _once(found: Iterable[remedies.Piece], onward: Sequence[Line], said: Said) -> list[remedies.Piece]:
    """Without the very command that goes on or back, where that stands below with what it does; a choice that is
    nothing else than going back goes with it."""
    below = {line.text for line in onward if line.paste}
    left: list[remedies.Piece] = []
    for piece in found:
        if not piece.paste or piece.text not in below & {said.line(Way.AGAIN), said.line(Way.ROLLBACK)}:
            left.append(piece)
        elif left and left[-1].text.startswith(OR) and piece.text == said.line(Way.ROLLBACK):
            left.pop()
    return left


def _labelled(label: str, found: Iterable[remedies.Piece]) -> Iterator[Line]:
    """What is first, and each choice besides under a label of its own."""
    for number, piece in enumerate(found):
        begins = "" if piece.paste or not number else next((w for w in (OR, EITHER) if piece.text.startswith(w)), "")
        mine = begins.rstrip(", ").capitalize() if begins else "" if number else label
        yield Line(mine, piece.text.removeprefix(begins), piece.paste)


def _onward(ended: Ended) -> Iterator[Line]:
    """Go on, look closer, restore anew, go back: each command, and what it does."""
    if ended.stage is None and ended.did.outcome == "recovered":
        yield Line("Next", ended.said.line("runbook/backup"), paste=True)
        yield Line("", "the first backup of the new cluster")
    if ended.stage is None or isinstance(ended.error, NothingToDo):
        return
    phase, directory = ended.did.phase, ended.said.directory
    found = ways(ended.name, ended.error, phase, directory)
    if isinstance(ended.error, Refusal) and ended.error.news:  # a rerun would say the same
        found = (Way.DIAGNOSE,)
    silent = isinstance(ended.error, LockError)
    undoes = directory in ("runbook", "runbook/retry") and phase in (Phase.STOPPING, Phase.STARTED) and not silent
    for way in dict.fromkeys((*found, *((Way.ROLLBACK,) if undoes else ()))):
        label, does = _does(way, ended)
        yield Line(label, ended.said.line(way), paste=True)
        yield Line("", does)


def _does(way: Way, ended: Ended) -> tuple[str, str]:
    if way is Way.DIAGNOSE:
        return "Look", "changes nothing: says what is wrong, the likeliest first"
    if way is Way.RETRY:
        return "Anew", "sets the restored data aside on every member, restores it again and starts it"
    if way is Way.ROLLBACK:
        return (
            "Go back",
            "gives back what was before the run: Deephaven on where it was on, etcd as it was",
        )
    if ended.error is not None and not isinstance(ended.error, Refusal):
        return "Go on", "gives the same until that fault is mended"
    if isinstance(ended.error, NotApproved):
        return "Go on", "makes the plan anew: have it approved, then give it by --approved"
    if isinstance(ended.error, LockError):
        return "Go on", "refused for as long as somebody else holds the lock"
    if not ended.did.acts:
        return "Go on", "looks again; changes nothing"
    if ended.did.phase is Phase.OPEN and ended.name in RIDDLES and ended.error is not None:
        return "Go on", "looks again, and says the same until something has changed"
    if ended.did.phase is Phase.OPEN and ended.said.directory == "runbook":
        return "Go on", "safe to repeat: begins with Step 0 again"
    at = f"; goes on at {ended.step}" if ended.step and ended.step != "Step 0" else ""
    return "Go on", f"safe to repeat: proves again what holds{at}"


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0].rstrip(".")


# -- as it is drawn ------------------------------------------------------------------------------------------------


def drawn(lines: Sequence[Line], width: int) -> list[str]:
    """For a screen of so many columns: long texts hang under their label, commands are never broken."""
    found: list[str] = []
    for line in lines:
        label = f"{line.label:<{LABEL}}"
        if line.paste:
            found.append(f"{label}{line.text}")
            continue
        for number, part in enumerate(line.text.splitlines()):
            found += textwrap.wrap(
                part,
                max(width, 2 * LABEL),
                initial_indent=" " * LABEL if number else label,
                subsequent_indent=" " * LABEL,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return found
