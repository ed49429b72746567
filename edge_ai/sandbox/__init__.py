"""Starting, holding and stopping the child process that touches users' bytes. Knows nothing of machine learning.

The child gets a scrubbed environment, a session of its own, limits and a folder; it is held by as many layers as its level
has, dies with its parent and is killed with everything that it started. :mod:`.policy` is made in the parent and applied
by :mod:`.inside` in the new process; :mod:`.probe` finds out what holds, by attacks. ``docs/sandbox.md`` says what each
level stops.
"""

from edge_ai.sandbox.child import Child, environment_of, python_module
from edge_ai.sandbox.errors import SandboxError
from edge_ai.sandbox.inside import die_with, enter
from edge_ai.sandbox.levels import Level
from edge_ai.sandbox.limits import Limits
from edge_ai.sandbox.places import CODE_DIR
from edge_ai.sandbox.policy import Policy
from edge_ai.sandbox.watched import WatchedChild

__all__ = [
    "CODE_DIR",
    "Child",
    "Level",
    "Limits",
    "Policy",
    "SandboxError",
    "WatchedChild",
    "die_with",
    "enter",
    "environment_of",
    "python_module",
]
