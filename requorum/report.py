"""`python -m requorum.report` is promised; the module is `requorum.evidence.report`."""

from requorum.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main(["report"]))
