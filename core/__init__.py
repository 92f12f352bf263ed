"""The library: decisions without I/O.

``from cybernetes.core import Selector, LabelIndex, Scheduler`` is the public library. Everything is loaded on first
use, so that a program which wants selectors does not pay for numpy.

In a checkout ``import core`` also works and hands over this same package (see ``cybernetes/alias.py``).
"""

if __name__ == "core":  # a checkout, imported by its short name
    from cybernetes.alias import adopt

    adopt("core")
