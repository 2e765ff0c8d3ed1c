"""Debug logging's line edit: on then off is the same file to the byte, and nothing but one key changes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster.etcd import EtcdError
from requorum.troubleshoot import debug_logging
from requorum.troubleshoot.debug_logging import Config
from tests.unit import build
from tests.unit.build import understood

SINCE, BEFORE = debug_logging.setting("3.5.16"), debug_logging.setting("3.4.23")
PLAIN = "# ours\nname: etcd-1\ndata-dir: /data # here\nlog-level: info\nclient-transport-security:\n  cert-file: /x\n"
DIRECTORY = "/var/lib/requorum/lab/debug_logging"
PATH = "/etc/etcd/dh/t/config.yaml"
KEPT = f"{DIRECTORY}/etc_etcd_dh_t_config.yaml"


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("3.5.0", "log-level: debug"),
        ("3.6.1", "log-level: debug"),
        ("3.10.0", "log-level: debug"),
        ("4.0.0", "log-level: debug"),
        ("3.4.27", "debug: true"),
        ("3.3.0", "debug: true"),
    ],
)
def test_the_setting_goes_by_version(version: str, line: str) -> None:
    assert debug_logging.setting(version).line.startswith(f"{line} #")


def test_a_level_that_is_set_is_kept_in_its_place_as_a_comment() -> None:
    edited = debug_logging.switched_on(PLAIN, SINCE, "here")
    assert edited.splitlines()[3:5] == ["log-level: debug # requorum debug_logging", "# requorum was: log-level: info"]
    assert debug_logging.switched_off(edited) == PLAIN


def test_on_twice_is_on_once_and_off_without_on_is_nothing() -> None:
    once = debug_logging.switched_on(PLAIN, SINCE, "here")
    assert debug_logging.switched_on(once, SINCE, "here") == once
    assert debug_logging.switched_off(PLAIN) == PLAIN


def test_a_file_that_says_debug_by_itself_is_left_alone() -> None:
    own = PLAIN.replace("info", "debug")
    assert debug_logging.switched_on(own, SINCE, "here") == own
    assert debug_logging.switched_off(own) == own


keys = st.sampled_from(["name", "log-level", "debug", "data-dir", "logger", "x y", "election-timeout"])
values = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12),
    st.integers(),
    st.booleans(),
    st.none(),
    st.lists(st.text("ab: #", max_size=5), max_size=3),
    st.dictionaries(st.sampled_from(["log-level", "debug", "cert"]), st.text("ab#'\"", max_size=4), max_size=3),
)
comments = st.lists(st.text("ab #:-'é\t", max_size=10), max_size=4)


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """YAML as people write it: comments between keys, blank lines, any newline, with and without one at the end."""
    mapping = draw(st.dictionaries(keys, values, min_size=1, max_size=6))
    parts = [f"# {comment}\n" for comment in draw(comments)]
    for key, value in mapping.items():
        parts.append(yaml.safe_dump({key: value}, allow_unicode=True, default_flow_style=False))
        parts += [f"# {comment}\n" for comment in draw(comments)] + ["\n"] * draw(st.integers(0, 1))
    text = "".join(parts)
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return text.rstrip("\r\n") if draw(st.booleans()) else text


@given(configurations(), st.sampled_from([SINCE, BEFORE]))
def test_on_changes_one_key_and_off_gives_every_byte_back(text: str, wanted: debug_logging.Setting) -> None:
    before = yaml.safe_load(text)
    try:
        edited = debug_logging.switched_on(text, wanted, "here")
    except EtcdError:
        return
    assert yaml.safe_load(edited) == {**before, wanted.key: wanted.value}
    assert debug_logging.switched_off(edited) == text


@given(st.text("ab:\n\r#- {}[]|>'\"\u2028", max_size=40))
def test_whatever_the_text_it_is_edited_reversibly_or_refused(text: str) -> None:
    try:
        edited = debug_logging.switched_on(text, SINCE, "here")
    except EtcdError:
        return
    assert debug_logging.switched_off(edited) == text


def test_an_ordinary_file_is_not_refused() -> None:
    """The property above lets refusals pass: this is what must not be among them."""
    windows = PLAIN.replace("\n", "\r\n")
    for text in (PLAIN, PLAIN.rstrip("\n"), windows, windows.rstrip("\r\n"), PLAIN.replace("log-level: info\n", "")):
        for wanted in (SINCE, BEFORE):
            edited = debug_logging.switched_on(text, wanted, "here")
            assert edited != text and debug_logging.switched_off(edited) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "here: is not YAML"),
        ("", "here: holds no etcd configuration"),
        ("- a\n", "here: holds no etcd configuration"),
        ("{name: etcd-1}\n", "edit it by hand"),
        ("log-level:\n  info\n", "edit it by hand"),
        ("name: x\n...\n", "edit it by hand"),
    ],
)
def test_what_cannot_be_edited_by_one_line_is_refused(text: str, says: str) -> None:
    with pytest.raises(EtcdError, match=says):
        debug_logging.switched_on(text, SINCE, "here")


# -- the plan ----------------------------------------------------------------------------------------------------


def config(text: str = PLAIN, kept: str = "", due: bool = False) -> Config:
    return Config("etcd-1", PATH, text.encode(), kept, due, "3.5.16")


ON = debug_logging.switched_on(PLAIN, SINCE, "here")
ORIGINAL = debug_logging.digest(PLAIN.encode())


def lines(of: Config, off: bool = False, running: bool = True) -> list[str]:
    plan = debug_logging.switch("lab", build.UNIT, of, off, running)
    return [line.removeprefix(f"etcd-1: {build.SHORT} ") for line in build.lines(plan)]


EDIT = [
    f"install -m 600 /dev/null {KEPT}.due",
    f"cp -a {PATH} {PATH}.requorum",
    f"dd of={PATH}.requorum conv=fsync status=none",
    f"mv -fT {PATH}.requorum {PATH}",
    "systemctl restart --no-block dh-etcd.service",
]
PLACE = f"install -d -m 700 /var/lib/requorum /var/lib/requorum/lab {DIRECTORY}"


def test_the_original_is_kept_before_anything_changes() -> None:
    keep = [f"cp -a {PATH} {KEPT}.part", f"mv --backup=numbered -T {KEPT}.part {KEPT}"]
    assert lines(config()) == [PLACE, *keep, *EDIT]
    assert build.stdins(debug_logging.switch("lab", build.UNIT, config(), False, True)) == [ON.encode()]


def test_an_original_that_is_kept_already_is_not_written_again() -> None:
    assert lines(config(kept=ORIGINAL)) == [PLACE, *EDIT]


def test_what_is_on_needs_nothing_but_a_restart_that_is_still_due() -> None:
    assert lines(config(ON, ORIGINAL)) == []
    assert lines(config(ON, ORIGINAL, due=True)) == [PLACE, EDIT[-1]]


def test_off_writes_the_original_back_and_a_stopped_member_stays_stopped() -> None:
    assert lines(config(ON, ORIGINAL), off=True) == [PLACE, *EDIT]
    assert lines(config(ON, ORIGINAL), off=True, running=False) == [PLACE, *EDIT[:-1]]
    assert build.stdins(debug_logging.switch("lab", build.UNIT, config(ON, ORIGINAL), True, True)) == [PLAIN.encode()]
    assert lines(config(), off=True) == []


def test_a_file_that_somebody_changed_meanwhile_is_not_switched_off() -> None:
    with pytest.raises(EtcdError, match="changed by somebody else while debug logging was on"):
        lines(config(ON + "name2: x\n", ORIGINAL), off=True)


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(EtcdError, match="is not UTF-8"):
        debug_logging.wanted_text(replace(config(), content=b"name: \xff\n"), off=False)


def test_debug_lines_are_told_by_etcds_own_words_or_priority() -> None:
    messages = [
        ('{"level":"debug","ts":"2026-01-01","msg":"x"}', "6"),
        ('{"level":"info","ts":"2026-01-01","msg":"debug"}', "6"),
        ("2026-01-01 00:00:00.1 D | etcdserver/api: x", "6"),
        ("2026-01-01 00:00:00.1 I | etcdserver/api: D | x", "6"),
        ("raft: x", "7"),
    ]
    journal = "\n".join(json.dumps({"MESSAGE": message, "PRIORITY": priority}) for message, priority in messages)
    said = understood(debug_logging.ask_journal("etcd-1", "ab" * 16), journal + "\nno JSON\n[]")
    assert said == debug_logging.Said(7, tuple(messages[n][0] for n in (0, 2, 4)))
