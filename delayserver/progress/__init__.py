"""The last known state of pieces of work, for everybody who may see it.

====================  ==============================================================================
`handle`              what a project calls: `Progress`
`doing`               ``with progress() as p``: it runs, and then it has succeeded, or failed
`making`              it is made, or joined by a key
`record`              the state itself, and how it may change
`board`               where a process writes it: one background thread, 20 times a second at most
`batching`            many questions to the store as one
`watching`            who looks on in this process
`tending`             what is done for pollers while somebody does
`stepping`            which run of a poller's step counts
`tokens`              who may see which
====================  ==============================================================================

What shows it: `delayserver.consumers.ProgressConsumer`, `delayserver.views`, and in the browser ``task-progress.js``.
"""

from __future__ import annotations

from .doing import progress
from .handle import Progress
from .record import State

__all__ = ["Progress", "State", "progress"]
