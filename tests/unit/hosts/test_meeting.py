"""Connections are opened few at once; one that sshd turns away is tried again, and is no sign of a dead machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum.command import look
from requorum.evidence.journal import Journal
from requorum.hosts import cipher, meeting
from requorum.hosts.fleet import Fleet, FleetError, Unreachable, raise_all
from requorum.hosts.meeting import AT_ONCE, PAUSES, NoLogin
from requorum.plugin.ending.signs import sign
from tests.unit import build

AWAY = "kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.9 port 22\n"
BEYOND = (
    "channel 0: open failed: connect failed: No route to host\nstdio forwarding failed\n"
    "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535\n"
)
# Counts who is in at the same time; turns the first TIMES away with WORDS.
SSH = """#!/bin/sh
for last; do address=$before; before=$last; done
[ -d "$ROOM" ] || exit 255
mkdir "$ROOM/in.$$"; ls -d "$ROOM"/in.* | wc -l >>"$ROOM/most"; sleep 0.05; rmdir "$ROOM/in.$$"
n=$(cat "$ROOM/tries.$address" 2>/dev/null || echo 0); echo $((n + 1)) >"$ROOM/tries.$address"
if [ "$n" -lt "$TIMES" ]; then printf '%s' "$WORDS" >&2; exit 255; fi
exec sh -c "$last"
"""


@pytest.fixture
def bastion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A way in front of all hosts that turns each away TIMES times, with WORDS."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH)
    (tmp_path / "bin" / "ssh").chmod(0o755)
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(meeting, "PAUSES", (0.05, 0.1))
    monkeypatch.setattr(cipher, "_FLAGS", tmp_path / "none")  # else each is asked for its ciphers by ssh too
    monkeypatch.setenv("ROOM", str(tmp_path / "room"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return monkeypatch


def fleet_of(tmp_path: Path, count: int = 3) -> Fleet:
    hosts = {f"etcd-{n}": {"address": f"etcd-{n}.invalid"} for n in range(1, 4)}
    hosts |= {f"spare-{n}": {"address": f"spare-{n}.invalid"} for n in range(count - 3)}
    return Fleet(build.inventory(hosts=hosts | {"infra-1": {}, "query-1": {}}), Journal(tmp_path / "evidence"))


def asked(fleet: Fleet) -> dict[str, object]:
    return dict(fleet.gather([look(host, "true", why="", root=False) for host in fleet.machines]))


@pytest.mark.parametrize("words", [AWAY, "Connection reset by 10.0.0.9 port 22\n", "Exceeded MaxStartups\n"])
def test_a_connection_that_is_turned_away_is_tried_again(
    bastion: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    bastion.setenv("TIMES", "2")
    bastion.setenv("WORDS", words)
    with fleet_of(tmp_path) as fleet:
        assert [found for found in asked(fleet).values() if isinstance(found, Exception)] == []


def test_few_are_opened_at_the_same_time(bastion: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bastion.setenv("TIMES", "0")
    with fleet_of(tmp_path, 30) as fleet:
        fleet.each(fleet.machines, lambda machine: None)
    assert 1 < max(map(int, (tmp_path / "room" / "most").read_text().split())) <= AT_ONCE < 10, "MaxStartups 10:30:100"


def test_one_that_stays_so_is_named_and_never_said_to_be_gone(bastion: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bastion.setenv("TIMES", "99")
    bastion.setenv("WORDS", AWAY)
    with fleet_of(tmp_path) as fleet, pytest.raises(Unreachable) as error:
        raise_all([found for found in asked(fleet).values() if isinstance(found, Exception)])
    assert "etcd-2: turned the connection away, 3 times in 0.15 s: Connection closed by 10.0.0.9" in error.value.what
    assert "--gone" not in str(error.value) and "MaxStartups" in error.value.remedy
    shown = sign(error.value.what)
    assert shown and "bastion" in shown.cause


@pytest.mark.parametrize("words", [BEYOND, "ssh: connect to host etcd-2 port 22: No route to host\n"])
def test_a_machine_that_is_off_is_not_waited_for(bastion: pytest.MonkeyPatch, tmp_path: Path, words: str) -> None:
    bastion.setenv("TIMES", "99")
    bastion.setenv("WORDS", words)
    with fleet_of(tmp_path) as fleet:
        error = asked(fleet)["etcd-2"]
    assert isinstance(error, Unreachable) and "No route to host" in error.what and "--gone=HOST" in error.remedy
    assert (tmp_path / "room" / "tries.etcd-2.invalid").read_text() == "1\n"


def test_one_that_turned_all_tries_away_is_waited_for_once(bastion: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bastion.setenv("TIMES", "99")
    bastion.setenv("WORDS", AWAY)
    with fleet_of(tmp_path) as fleet:
        for _ in range(3):
            last = asked(fleet)["etcd-2"]
            assert isinstance(last, Unreachable)
    assert "turned the connection away: Connection closed by 10.0.0.9" in str(last), "once, and so it says"
    assert (tmp_path / "room" / "tries.etcd-2.invalid").read_text() == "5\n", "three, then one each"


def test_a_proxy_that_ends_without_a_word_reached_nobody_and_is_not_waited_for(
    bastion: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bastion.setenv("TIMES", "99")
    bastion.setenv("WORDS", AWAY.replace("10.0.0.9 port 22", "UNKNOWN port 65535"))
    with fleet_of(tmp_path) as fleet:
        error = asked(fleet)["etcd-2"]
    assert isinstance(error, Unreachable) and "--gone=HOST" in error.remedy
    assert (tmp_path / "room" / "tries.etcd-2.invalid").read_text() == "1\n"


def test_what_helps_one_host_is_not_said_of_another() -> None:
    errors = [Unreachable("a", "off", "--gone"), Unreachable("b", "turned away", "wait"), FleetError("c", "x", "wait")]
    with pytest.raises(Unreachable) as error:
        raise_all(errors)
    assert error.value.remedy == "a: --gone; b, c: wait"


def test_an_interrupt_ends_the_pauses() -> None:
    waited: list[float] = []

    def interrupted(pause: float) -> bool:
        waited.append(pause)
        return True

    keeper = meeting.Doorkeeper("0", 5, interrupted)
    met = keeper.greet(("sh", "-c", "echo Connection reset by x >&2; exit 255"))
    assert isinstance(met, NoLogin) and met.kind == "turned away" and waited == list(PAUSES[:1])
