"""The delay server for Django Channels: messages that arrive later, on time, and not twice.

How a message travels, and so the order in which to read:

=====================  ====================================================================
`sending`              your code asks for a message to be sent later
`transactions`         which may have to wait for your own transaction to commit
`message`, `content`   it is checked, resolved against the clock, and packed
`stores`               it waits, in Redis, in the database, or in memory
`loops.intake`         the other door: what anyone sent to the channel ``asgi.delay``
`changing`             until it is due, you can take it back, move it, or ask for it
`loops.dispatch`       it is due: the store hands it over, or claims it for `loops.delivering`
`layers`               it goes out on the channel layer
`server`               the loops together: ``manage.py rundelay``
`embedded`             the same, and workers too, inside one ASGI process
=====================  ====================================================================

How a message comes again and again:

==============================  ==============================================================
`recurrence`                    at which instants: `Every` and `Cron`
`crontab`, `zones`, `reading`   an expression's fields, its clock, and what it says in English
`occurrences`                   a schedule's rule, and its cursor: how far it has come
`planning`                      what comes next, and what is left out, as a pure function
`rules`                         a schedule's options, checked
`declaring`                     schedules in code
`stores.database_schedules`     schedules as rows
`schedules`                     all there are, and which of them are wrong
`loops.tick`                    puts the next occurrences, and moves the cursors past them
`loops.stepping`                one schedule: its next step, and what the store made of it
`stores.moves`                  such a step, as stores make it in one act
`overseeing`                    what a person sees of them, and stops
==============================  ==============================================================

How a message is handled:

========================  ====================================================================
`verdicts`                what became of a handler, and the words that it may say
`loops.room`              how many more messages the worker can take
`layers.base`             a `Source` of them: `layers.channels_redis_source`, `layers.generic_source`
`loops.taking`            off the channel, and into the worker's hand
`stores.tickets`          what the store keeps is still to be handled, and its ack counts from now
`handling`                one message through the project's application
`threads`                 where its sync code runs
`keeping`                 the leases, while it runs
`consumers`               what a project subclasses
`once`                    a consumer asks whether what came is here for the first time
`acking`                  done, again, or a dead letter: what is made of the outcome
`loops.settling`          many at a time, and then out of the hand
`worker`                  all of it together: ``manage.py runtasks``
`supervising`             several such processes
========================  ====================================================================

How people see how far it is:

===========================  =================================================================
`stores.entries`             what a store keeps under a name, and changes only if it still is what was seen
`progress`                   the last known state of a piece of work; it has an itinerary of its own
`consumers.polling`          pollers: work that is looked at again and again, one message a step
`progress.stepping`          which run of a step counts
`consumers.showing`          what a browser's WebSocket gets; `routing` has its path
`views`                      the same for clients without WebSockets; `urls` has its path
`templatetags`, ``static``   ``<task-progress>``, which shows it
`progress_settings`          how long it is kept, and how long a token is good
===========================  =================================================================

Slow work that another process does: `offload`, which has an itinerary of its own (`offload_settings`, `offload_hosts`:
what it may do). Where other packages meet this one: `contrib`.

Beside the way: `errors`, `clock`, `backoff` (`Retry`), `events` (every line of the log), `conf` (every setting),
`handlers` (who would handle a message), `checks` (what is told before anything runs), `stores.shelves` (what people
see), `testing` (what a project's tests use), `redis_hosts`, `redis_connections`, `redis_link`, `redis_listener` (the
way to Redis, and Lua).
"""

from __future__ import annotations

from .backoff import Retry
from .changing import acancel, aget, areschedule, cancel, get, reschedule
from .declaring import schedule
from .errors import ConfigurationError, DelayServerError, InvalidMessage, InvalidSchedule, KeyTaken, StoreUnavailable
from .message import Message, Receipt
from .recurrence import Cron, Every
from .sending import (
    agroup_send_later,
    asend_later,
    asend_many_later,
    group_send_later,
    send_later,
    send_many_later,
)

__all__ = [
    "ConfigurationError",
    "Cron",
    "DelayServerError",
    "Every",
    "InvalidMessage",
    "InvalidSchedule",
    "KeyTaken",
    "Message",
    "Receipt",
    "Retry",
    "StoreUnavailable",
    "acancel",
    "aget",
    "agroup_send_later",
    "areschedule",
    "asend_later",
    "asend_many_later",
    "cancel",
    "get",
    "group_send_later",
    "reschedule",
    "schedule",
    "send_later",
    "send_many_later",
]

__version__ = "0.1.0"
