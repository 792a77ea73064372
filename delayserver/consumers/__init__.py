"""What a project's consumers stand on.

============  ===========================================================================================
`mixin`       acks, and the words for what became of a message
`again`       the same message again, later
`polling`     work that is looked at again and again until it is done
`steps`       one run of one step of it
`showing`     what a browser sees of it
============  ===========================================================================================
"""

from __future__ import annotations

from ..once import first_time
from ..verdicts import Again, Done, Fail
from .again import reschedule
from .mixin import AckingMixin
from .polling import PollingConsumer
from .showing import ProgressConsumer

__all__ = [
    "AckingMixin",
    "Again",
    "Done",
    "Fail",
    "PollingConsumer",
    "ProgressConsumer",
    "first_time",
    "reschedule",
]
