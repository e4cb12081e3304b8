"""Stands in for torch in child processes, which TVM imports in vain: two seconds for each of them.

:data:`tests.children.QUICK` puts this folder on their path.
"""

raise ImportError("child processes of tests do without torch")
