"""Why a variant is slower than the model that it was made from, or answers something else.

Both are measured by turns and answer the same samples, which decides the question; then their graphs, their times by operator
and their values layer by layer are held against each other, and each cause found comes with its evidence and a remedy.
"""
