"""A plan as an operator reads it."""

from __future__ import annotations

import shlex

from requorum.command import SUM, Action, Command, Copy, Fetch, look
from requorum.run import dryrun
from requorum.run.dryrun import Stage

NODE = "runbook/test_x.py::TestStep1Stop::test_{}"


def drawn(name: str = "when_it_is_done", actions: list[Action] | None = None, **fields: object) -> list[str]:
    stage = Stage(NODE.format(name), plans=[(actions, False)] if actions else [], doc="All of it.")
    for field, value in fields.items():
        setattr(stage, field, value)
    return [line.plain for line in dryrun.drawn(stage)]


def test_hosts_that_do_the_same_are_named_once_and_each_command_says_what_it_is_for() -> None:
    commands: list[Action] = [Command(h, (tool, "/a"), f"why {tool}") for h in ("a", "b") for tool in ("x", "y")]
    assert drawn(actions=[*commands, look("c", "z", why="see")]) == [
        "  When  it is done",
        "      a, b",
        "        * sudo -n timeout -k 5 60 x /a  # why x",
        "        * sudo -n timeout -k 5 60 y /a  # why y",
        "      c",
        "          sudo -n timeout -k 5 60 z  # see",
    ]


def test_standard_input_is_never_shown() -> None:
    lines = drawn(actions=[Command("a", ("dd", "of=/p"), "a password", stdin=b"hunter2")])
    assert lines[-1] == "        * sudo -n timeout -k 5 60 dd of=/p < •••  # a password"


def test_what_looks_like_a_password_in_a_text_is_blotted_out() -> None:
    assert "hunter2" not in "\n".join(drawn(actions=[Command("a", ("x", "--password=hunter2"), "password: hunter2")]))


def test_a_word_is_quoted_as_a_shell_needs_it_but_not_for_its_placeholders() -> None:
    command = Command("a", ("find", "/‹run›/x", "a b", "‹names-in-a.tgz›", "{}", ";"), "")
    assert dryrun.spelled(command).endswith("find /‹run›/x 'a b' ‹names-in-a.tgz› '{}' ';'")


def test_a_copy_is_drawn_with_every_command_that_it_is_made_of_in_order() -> None:
    before, after = Command("b", ("first",), "first"), Command("b", ("last",), "last")
    lines = drawn(actions=[before, Copy("/from", (("b", "/to"), ("c", "/to")), "the file", "a"), after])
    assert [line.split("timeout -k 5 ")[-1].split("  #")[0] for line in lines[1:]] == [
        "      b",
        "60 first",
        "      the file: streamed from a",
        "      b, c",
        "60 install -D -m 600 /dev/null /to.part",
        "7200 dd of=/to.part bs=1M status=none",
        f"7200 sh -c {shlex.quote(SUM)} /to.part",
        "60 mv -fT /to.part /to",
        "      a",
        "7200 cat /from",
        "      b",
        "60 last",
    ]


def test_what_is_fetched_is_drawn_with_where_it_comes_from_and_where_to() -> None:
    lines = drawn(actions=[Fetch("a", "/from", "/here/to.part", "the save", "5" * 64), Command("a", ("last",), "last")])
    assert lines[1:4] == [
        "      the save: streamed from a to /here/to.part on this machine",
        "      a",
        "          sudo -n timeout -k 5 7200 cat /from",
    ]
    assert lines[-1].endswith("last  # last")


def test_a_proof_says_what_it_proves_and_a_look_that_it_holds_now() -> None:
    assert drawn("then_it_holds") == ["  Then  it holds", "          proves: All of it."]
    assert drawn("given_it_is_there", looked=True, notes=["found"]) == [
        "  Given it is there · holds now",
        "           found",
    ]


def test_what_would_refuse_today_is_said_at_its_place() -> None:
    lines = drawn("given_quorum_is_lost", looked=True, refusal="expected: lost\n    → wait")
    assert lines[0] == "  Given quorum is lost"
    assert lines[1] == "          today the runbook would stop here: expected: lost\n              → wait"


def test_a_step_without_work_says_so_and_a_line_is_drawn_before_its_stage() -> None:
    assert drawn() == ["  When  it is done · not needed here"]
    assert drawn(line="the point of no return")[0] == "\n──── the point of no return ────\n"


def test_the_whole_plan_has_its_legend_and_a_heading_a_step() -> None:
    stages = [Stage(NODE.format(f"when_{n}"), step=f"Step {n // 2}.") for n in range(4)]
    lines = dryrun.plan(stages)
    assert tuple(lines[: len(dryrun.LEGEND)]) == dryrun.LEGEND
    assert [line for line in lines if line.startswith("Step")] == ["Step 0.", "Step 1."]
