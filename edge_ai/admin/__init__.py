"""Admin pages: device templates for every workspace, what is known across workspaces, and the rows of the one staff are in.

Nothing here reads a model's bytes.
"""

from edge_ai.admin import fleet, inside, templates

__all__ = ["fleet", "inside", "templates"]
