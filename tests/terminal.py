"""A run of the runbook on a terminal: what a person at the keyboard sees and types."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading

from compose import poll
from compose.state import REPOSITORY


class Terminal:
    """Starts the runbook on a pseudo-terminal of its own. `seen` is all that was shown so far."""

    def __init__(
        self,
        *arguments: str,
        procedure: str = "runbook",
        columns: int = 200,
        program: tuple[str, ...] = (sys.executable, "-m", "pytest"),
    ) -> None:
        self._keyboard, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [*program, procedure, *arguments],
            cwd=REPOSITORY,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
            env={**{k: v for k, v in os.environ.items() if k != "COLUMNS"}, "TERM": "xterm"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,  # so that it has a /dev/tty
        )
        os.close(screen)
        self.seen = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                block = os.read(self._keyboard, 4096)
            except OSError:  # the other end is closed: the run has ended
                return
            self.seen += block.decode(errors="replace")

    def wait_for(self, text: str) -> None:
        """Until it is shown, while the run goes on."""

        def shown() -> bool:
            assert self.process.poll() is None or text in self.seen, self.seen
            return text in self.seen

        poll.until(shown, seconds=120, every=0.05, what=f"“{text}” is shown", why_not=lambda: self.seen[-2000:])

    def answer(self, question: str, word: str) -> None:
        """Waits for the question and types a word."""
        self.wait_for(question)
        self.type(word)

    def type(self, word: str) -> None:
        os.write(self._keyboard, f"{word}\n".encode())

    def end(self) -> int:
        """Waits for the run to end; its exit code."""
        code = self.process.wait(timeout=300)
        self._reader.join(timeout=10)
        os.close(self._keyboard)
        return code
