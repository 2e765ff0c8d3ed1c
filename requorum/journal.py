"""`python -m requorum.journal` is promised; the module is `requorum.evidence.audit`."""

from requorum.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main(["journal"]))
