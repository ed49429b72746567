"""The package as a held child finds it: its modules are those beside the sandbox, and nothing beside them is in reach.

A folder on the path of imports must be listed to be searched. Were that the folder above the package, the child could list
everything below it, such as a data folder; so the path of a child names the folder above this file, and leads from here.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[3])]
