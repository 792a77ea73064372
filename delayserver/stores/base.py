"""The store protocol. Each verb is one atomic act, each docstring one sentence: from -> to.

Taking a message only makes it due again later: to claim is to move its due instant to ``now + lease`` and to
give it a new generation. To finish is to show that generation. A late server's generation is no longer the
message's, so it is told ``False`` and undoes nothing.

What is due for a target that is full waits in that target's backlog, at its old place in the order, where `claim` and
`next_due` do not see it; `claim_backlog` takes from there as room appears. It is waiting like any other message: it
is counted, keeps its key, and can be cancelled or moved.

What is to be acked is *handed over* from one hand-over to the next: it waits, anywhere, and has spent the attempt that
its ticket names. While it is claimed for the next, no ticket fits.

Times are whole milliseconds since the epoch and come as arguments, so that a test can hand in any.

``put``, ``cancel``, ``reschedule``, ``get`` and ``renew`` are for callers and work from any thread; their a-twins and
all other verbs belong to an event loop. What has expired is not waiting for the first four: its key is free, though a
server has yet to drop it. ``entries`` and ``change_entries`` work on any event loop of any thread, whether the store is
open or not, and join no transaction.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ..clock import Clock
from ..conf import LayerSettings
from ..message import Claim, DeadLetter, Receipt, Ticket, Waiting
from .entries import Change, Entry
from .moves import MAX_BATCH as MAX_BATCH
from .moves import Move, Moved
from .shelf import Shelf
from .tickets import Acked as Acked

MAX_PUT_BYTES = 524_288  # and the most content that goes with others into one put
MAX_CLAIM_BYTES = 4_194_304  # and about the most content one claim takes, so that memory is bounded
STORE_THREAD = "delayserver-store"  # the name of a thread in which a store waits for its server
MAX_DEAD_LETTERS = 10_000  # the oldest go first


class Named(NamedTuple):
    """What `cancel`, `reschedule` and `get` take: a message by its id or by its key."""

    id: str | None = None
    key: str | None = None


class Arrival(NamedTuple):
    """A message still on a channel of the store's own server: what to remove, and what to keep of it."""

    token: bytes
    message: Waiting | DeadLetter


class HandedOver(NamedTuple):
    """What one `hand_over` did: how many went out, and what it only claimed.

    `backlogs` are all there are, with how many went out of each, -1 where there was no time to look; `next_due` is as
    `Store.next_due`, and in the past where more is due than one act takes.
    """

    handed: int
    claims: Sequence[Claim]
    backlogs: Mapping[str, int]
    next_due: int | None


class Parcel(NamedTuple):
    """A claimed message as it shall lie on its channel: the channel's key, capacity and the member.

    `again` is when the message is due again, with an attempt spent; None where it is gone once it is handed over.
    """

    claim: Claim
    key: str
    capacity: int
    member: bytes
    again: int | None = None


class Fate(IntEnum):
    """What became of a parcel."""

    NOT_OURS = -1  # the claim is no longer ours
    FULL = 0  # the channel is; the message is claimed as before
    THERE = 1
    EXPIRED = 2  # and gone


class Store(Shelf):
    """Where messages wait. `place` names the server and database, where others could share it."""

    clock: Clock
    place: str | None = None
    database: str | None = None  # whose transactions it takes part in: an alias of DATABASES

    def __init__(self, layer: LayerSettings, **options: Any) -> None:
        """For the messages of one layer; `options` are ``STORE_OPTIONS``."""

    @classmethod
    def shards(cls, layer: LayerSettings, **options: Any) -> Sequence[Store]:
        """The stores that share a layer's messages: one, unless it pays to have one beside each host of the layer."""
        return [cls(layer, **options)]

    def __str__(self) -> str:
        """For the ready line: what and where, without a password."""
        return type(self).__name__

    # -- for callers, from any thread ---------------------------------------------------------------------

    @abstractmethod
    def put(self, messages: Sequence[Waiting]) -> list[Receipt]:
        """Nowhere -> waiting, all or none of them; `KeyTaken` when one is and its `on_conflict` is "error"."""

    @abstractmethod
    def cancel(self, named: Sequence[Named]) -> list[bool]:
        """Waiting -> gone."""

    @abstractmethod
    def reschedule(self, named: Named, due: int) -> bool:
        """Waiting -> waiting, due at another instant."""

    @abstractmethod
    def get(self, named: Named) -> Waiting | None:
        """The waiting message of this id or key."""

    @abstractmethod
    async def aput(self, messages: Sequence[Waiting]) -> list[Receipt]:
        """As `put`."""

    @abstractmethod
    async def acancel(self, named: Sequence[Named]) -> list[bool]:
        """As `cancel`."""

    @abstractmethod
    async def areschedule(self, named: Named, due: int) -> bool:
        """As `reschedule`."""

    @abstractmethod
    async def aget(self, named: Named) -> Waiting | None:
        """As `get`."""

    @abstractmethod
    def renew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        """Handed over -> handed over, out of any backlog, its key free, and due again its ack timeout after `now`.

        The new due instants; None where a ticket does not fit, or the message has no `retry`. At most `MAX_BATCH`.
        """

    @abstractmethod
    async def arenew(self, tickets: Sequence[Ticket], now: int) -> list[int | None]:
        """As `renew`."""

    @abstractmethod
    def read_clock(self) -> Clock:
        """The store's clock, read afresh if the last reading is old."""

    @abstractmethod
    async def aread_clock(self) -> Clock:
        """As `read_clock`."""

    # -- for the server's loops ---------------------------------------------------------------------------

    async def take(self, messages: Sequence[Waiting]) -> None:
        """As `put`, for intake."""
        await self.aput(messages)

    async def open(self, home: str = "") -> None:
        """Connect, read the clock, and start to listen for `earlier`.

        `home` names this process where the layer is its own: it then claims what it put, and what others
        put only once that is overdue, since nobody there took it.
        """

    async def aclose(self) -> None:
        """Stop listening and let the connections go."""

    @abstractmethod
    async def claim(self, now: int, limit: int, lease: int, full: Collection[str] = ()) -> list[Claim]:
        """Waiting and due -> claimed until ``now + lease`` ms, in due order; the key is free from then on.

        What is due for one of the `full` targets goes into its backlog instead, and does not count. An empty list
        means that nothing more is due which could be claimed now; one shorter than `limit` does not.
        """

    @abstractmethod
    async def claim_backlog(self, name: str, now: int, limit: int, lease: int) -> list[Claim]:
        """In the backlog `name` -> claimed until ``now + lease`` ms, in due order."""

    @abstractmethod
    async def hold_back(self, claims: Sequence[Claim], names: Sequence[str]) -> list[bool]:
        """Claimed -> in the backlog of this name, due when it was; its key is its own again, unless taken."""

    @abstractmethod
    async def backlogs(self) -> list[str]:
        """The names of the backlogs in which something waits."""

    @abstractmethod
    async def finish(self, claims: Sequence[Claim]) -> list[bool]:
        """Claimed -> gone."""

    @abstractmethod
    async def postpone(self, claims: Sequence[Claim], due: Sequence[int], *, spend: int) -> list[bool]:
        """Claimed -> waiting, due later.

        With `spend` 1 it is handed over: one attempt further, and its key stays free. With 0 the attempts are as they
        were, with -1 one is given back, and the key is its own again, unless taken.
        """

    @abstractmethod
    async def bury(self, claims: Sequence[Claim], letters: Sequence[DeadLetter]) -> list[bool]:
        """Claimed -> dead letter."""

    @abstractmethod
    async def refuse(self, letters: Sequence[DeadLetter]) -> None:
        """Nowhere -> dead letter."""

    @abstractmethod
    async def cursors(self, names: Collection[str] = ()) -> dict[str, bytes]:
        """Where the schedules of these names stand, or all of them: each cursor as it was last put."""

    @abstractmethod
    async def put_occurrences(self, moves: Sequence[Move]) -> list[Moved]:
        """As `cancel` and `put`, and moves the cursor, each in one act, if it still stands where we read it.

        They are done in order, and one that is overtaken undoes no other. At most `MAX_BATCH` moves, messages to put,
        and ids to take; the messages have no keys. `ValueError` otherwise, and nothing is done. Their content is to be
        within `MAX_PUT_BYTES`.
        """

    @abstractmethod
    async def next_due(self) -> int | None:
        """When the earliest message outside of backlogs is due; None when there is none."""

    @abstractmethod
    async def earlier(self) -> None:
        """Wait until something may have been put that is due before what `next_due` last said."""

    # -- for consumers ------------------------------------------------------------------------------------

    @abstractmethod
    async def ack(self, tickets: Sequence[Ticket]) -> list[Acked]:
        """Handed over -> gone. At most `MAX_BATCH`."""

    @abstractmethod
    async def reclaim(self, tickets: Sequence[Ticket], now: int, lease: int) -> list[Claim | None]:
        """Handed over -> claimed until ``now + lease`` ms, as by `claim`; None where a ticket does not fit.

        At most `MAX_BATCH`.
        """

    # -- for progress -------------------------------------------------------------------------------------

    @abstractmethod
    async def entries(self, names: Sequence[str]) -> list[Entry | None]:
        """What these names stand for now; None where there is nothing, or it is too old. At most `MAX_BATCH`."""

    @abstractmethod
    async def change_entries(self, changes: Sequence[Change]) -> list[int]:
        """Each, in order, if its version is still the one that was seen -> the next version.

        0 where it was not, and nothing is done to it. Each is one act at least, and the second of two with one name
        sees the first. At most `MAX_BATCH`, and `ValueError` otherwise; their bodies are to be within `MAX_PUT_BYTES`.
        """

    # -- offered only by a store that shares a server with the layer -----------------------------------------

    async def take_in(self, channel_key: str, taking_key: str, arrivals: Sequence[Arrival]) -> int:
        """On a channel -> waiting or dead letter, each in one act; how many were still there to take."""
        raise NotImplementedError

    async def hand_over(self, format: object, now: int, limit: int, lease: int, backlogs: Sequence[str]) -> HandedOver:
        """Waiting and due, or in one of `backlogs` -> on the channel; in a backlog, where the channel is full; claimed,
        where it takes more than moving bytes. `format` is the layer's own.
        """
        raise NotImplementedError

    async def hand_over_claims(self, parcels: Sequence[Parcel], expiry: int) -> list[Fate]:
        """Claimed -> on the channel, and gone or due again; gone, where it has expired by the server's own clock."""
        raise NotImplementedError
