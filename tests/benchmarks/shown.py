"""What stays on a terminal after all that was sent to it: every line ever shown, with its styles, as text or as SVG."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from io import StringIO

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_PIECE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b[()][A-Z0-9]|([\r\n])|([^\x1b\r\n]+)")


@dataclass
class Shown:
    """Lines of cells: a character and the style (SGR) that it was sent with."""

    lines: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    style: str = ""

    def send(self, sent: str) -> None:
        for found in _PIECE.finditer(sent):
            values, command, move, text = found.groups()
            if text:
                self._write(text)
            elif move == "\r":
                self.column = 0
            elif move == "\n":
                self.row += 1
                self.lines += [[] for _ in range(self.row + 1 - len(self.lines))]
            elif command:
                self._obey(command, values)

    def _write(self, text: str) -> None:
        line = self.lines[self.row]
        line += [(" ", "")] * (self.column - len(line))
        line[self.column : self.column + len(text)] = [(character, self.style) for character in text]
        self.column += len(text)

    def _obey(self, command: str, values: str) -> None:
        """What rich uses: styles, up, erase."""
        if command == "m":
            self.style = "" if values in ("", "0") else f"{self.style};{values}".strip(";")
        elif command == "A":
            self.row = max(self.row - int(values or 1), 0)
        elif command == "K":
            self.lines[self.row] = [] if values == "2" else self.lines[self.row][: self.column]

    @property
    def ansi(self) -> str:
        """The lines, without those that are empty at the end; styles as they were sent."""
        drawn = ["".join(_cells(line)) for line in self.lines]
        while drawn and not drawn[-1].strip():
            drawn.pop()
        return "\n".join(drawn)


def _cells(line: list[tuple[str, str]]) -> list[str]:
    """A style begins where it changes, and none goes over a line's end."""
    parts, now = [], ""
    for character, style in line:
        if style != now:
            parts.append(f"\x1b[0m\x1b[{style}m" if style else "\x1b[0m")
            now = style
        parts.append(character)
    return [*parts, "\x1b[0m" if now else ""]


def ansi(sent: str) -> str:
    shown = Shown()
    shown.send(sent)
    return shown.ansi


def plain(sent: str) -> str:
    return Text.from_ansi(ansi(sent)).plain + "\n"


def svg(sent: str, title: str, columns: int) -> str:
    """A picture that loads nothing: the fonts are the reader's own."""
    console = Console(record=True, width=columns, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(ansi(sent)))
    picture = console.export_svg(title=title, theme=MONOKAI, unique_id="screen")
    picture = re.sub(r"@font-face\s*\{.*?\}\s*", "", picture, flags=re.S)
    picture = picture.replace("Fira Code, monospace", "monospace").replace("'Fira Code'", "monospace")
    return re.sub(r"<!--.*?-->\s*", "", picture, flags=re.S)
