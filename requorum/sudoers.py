"""`python -m requorum.sudoers` is promised; the module is `requorum.troubleshoot.sudoers`."""

from requorum.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main(["sudoers"]))
