"""One command line for what needs no pytest: `python -m requorum journal verify … | report … | sudoers …`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from requorum.evidence import audit, report
from requorum.evidence.audit import REFUSED
from requorum.troubleshoot import sudoers

PROGRAMS = {"journal": audit.main, "report": report.main, "sudoers": sudoers.main}


def main(words: Sequence[str] = ()) -> int:
    """`words` stand before those of the command line."""
    name, *others = [*words, *sys.argv[1:]] or [""]
    if name not in PROGRAMS:
        print(f"usage: python -m requorum {' | '.join(PROGRAMS)} …", file=sys.stderr)
        return REFUSED
    return PROGRAMS[name](others)


if __name__ == "__main__":
    sys.exit(main())
