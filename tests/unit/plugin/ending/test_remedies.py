"""What is offered for pasting is whole words; a host's own word that is none stays a sentence, and ends nothing."""

from __future__ import annotations

import shlex

import pytest

from requorum.plugin.ending import remedies
from requorum.plugin.ending.ways import Said
from tests.unit import build

SAID = Said("pytest", "", "prod")


@pytest.mark.parametrize("word", ["x'y", 'x"y', "`reboot`", "'`reboot`'", "a\\", "'", "x y", "$(reboot)", "NAME"])
@pytest.mark.parametrize(
    "remedy",
    [
        "stop it: on etcd-2: `sudo systemctl stop {}`; then run again",
        "look: pytest runbook/troubleshoot/collect_logs --hosts={}; then run again",
        "run it with --accept=mark:{}",
        "then python -m requorum.sudoers {}",
    ],
)
def test_any_word_in_a_remedy_is_whole_words_or_a_sentence(remedy: str, word: str) -> None:
    found = remedies.pieces(remedy.format(word), SAID, build.inventory(), ["etcd-2"])
    assert found
    for piece in found:
        if piece.paste:
            shlex.split(piece.text)
