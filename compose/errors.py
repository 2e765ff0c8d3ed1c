"""What the lab says when it cannot go on.

One family, so that the command line turns every foreseeable condition into one line and never
into a traceback. A message names what failed, where, what was expected and what to do.
"""


class LabError(Exception):
    """A condition of the lab that its user can act on; the message is the whole story."""


class EngineError(LabError):
    """No container engine, and none could be installed or started."""


class ImageError(LabError):
    """The node image could not be built."""


class NodeError(LabError):
    """A command on a node failed or did not end in time."""


class StateError(LabError):
    """`.lab/state.json` is absent, unreadable or of another lab than the one that runs."""


class FaultError(LabError):
    """A fault could not be injected, or did not take."""
