"""The sorted set as people see it: they count, look through it, and requeue or purge dead letters."""

from __future__ import annotations

import contextlib
import itertools
import math
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

from ..conf import Fault
from ..message import DeadLetter, Target
from ..redis_link import Script, parts
from .base import MAX_BATCH
from .redis_doubts import doubts_of
from .redis_members import listed, pack, pack_id, unpack_letter
from .redis_waitlist import Translated, Waitlist, answers
from .shelf import MAX_LISTED_BYTES, MAX_LOOKED_AT, SLOT_MS, Page, Spot, Tally, Wanted

BACKLOGS = Script("messages", "backlogs")
LOOK, TALLY = Script("messages", "walk", "look"), Script("messages", "walk", "tally")
DEAD = Script("messages", "dead")
REQUEUE = Script("messages", "freeing", "letters", "requeue")
PURGE = Script("messages", "freeing", "letters", "purge")

MAX_ACT_BYTES = 524_288  # of messages in one script: with larger ones it would hold up Redis for more than 10 ms


class RedisShelf(Waitlist, ABC):
    """What `RedisStore` has for people."""

    async def count(self) -> int:
        return int(await self._link.here.ask("ZCARD", self._keys.waiting))

    async def first_due(self) -> int | None:
        held_back = [int(due) for _, due in await self._link.arun(BACKLOGS, self._keys, ())]
        head = await self._head()
        return min(held_back if head is None or head >= SLOT_MS else [head, *held_back], default=None)

    async def _head(self) -> int | None:
        first = await self._link.here.ask("ZRANGE", self._keys.waiting, 0, 0, "WITHSCORES")
        score = float(first[1]) if first else math.inf
        return math.ceil(score) if math.isfinite(score) else None

    async def look(self, wanted: Wanted, limit: int, after: Spot | None = None) -> Page:
        bounds = [limit, MAX_LOOKED_AT, MAX_ACT_BYTES, MAX_LISTED_BYTES]
        patterns = [wanted.kind or "", wanted.name or "", wanted.key or "", wanted.due_from, wanted.due_before]
        args = [*_behind(after, wanted.due_from), *bounds, *patterns]
        rest, found = await self._told(LOOK, args)
        shown = []
        for one in found:
            with contextlib.suppress(Exception):  # a raw writer can put anything there
                shown.append(listed(*one))
        return Page(shown, _rest(rest))

    async def tally(self, after: Spot | None = None) -> tuple[Mapping[Target, Tally], Spot | None]:
        args = [*_behind(after, "-inf"), MAX_LOOKED_AT, MAX_ACT_BYTES]
        rest, told = await self._told(TALLY, args)
        tallies = {}
        for name, waiting, held_back, claimed, due in told:
            with contextlib.suppress(Exception):
                tallies[_target(name)] = Tally(waiting, held_back, claimed, int(due) if due else None)
        return tallies, _rest(rest)

    async def count_dead(self) -> int:
        with Translated():
            return int(await self._link.here.ask("ZCARD", self._keys.dead))

    async def dead_letters(self, limit: int, after: Spot | None = None) -> list[DeadLetter]:
        at, id = ("", "") if after is None else (f"{after.at:.0f}", after.id)
        newest = await self._told(DEAD, [at, id, limit])
        return [unpack_letter(raw, id.decode(errors="backslashreplace"), int(at)) for id, at, raw in newest]

    async def find_dead(self, ids: Sequence[str]) -> list[DeadLetter | None]:
        found: list[DeadLetter | None] = []
        for id in ids:  # each may be as large as a message
            with Translated():
                head, rest = await self._link.here.ask("HMGET", self._keys.letters, f"head {id}", f"rest {id}")
            found.append(None if head is None else unpack_letter(head + (rest or b""), id, 0))
        return found

    async def requeue(self, letters: Sequence[DeadLetter], now: int) -> list[bool]:
        args = []
        for letter in letters:
            message = letter.message and letter.message.anew(now)
            member = (pack_id(message.id), message.key or "", pack(message)) if message else (b"", "", b"")
            args.append((letter.id if message else "", *member))
        with Translated():
            return answers(await self._run(REQUEUE, [self._channel, now], args, place_of_bytes=3))

    async def purge(self, ids: Sequence[str]) -> list[bool]:
        purged: list[bool] = []
        for start in range(0, len(ids), MAX_BATCH):
            purged += answers(await self._told(PURGE, ids[start : start + MAX_BATCH]))
        return purged

    async def doubts(self) -> list[Fault]:
        return await doubts_of(self._link)

    async def _told(self, script: Script, args: Sequence[Any]) -> Any:
        with Translated():
            return await self._link.arun(script, self._keys, args)

    async def _run(
        self, script: Script, head: list[Any], found: Sequence[tuple[Any, ...]], place_of_bytes: int = 1
    ) -> list[int]:
        """The script on some of `found` after the other; the bytes that count are the second of each."""
        replies: list[int] = []
        for part in parts(found, MAX_BATCH, MAX_ACT_BYTES, lambda one: len(one[place_of_bytes])):
            args = [*head, *itertools.chain.from_iterable(part)]
            replies += await self._link.arun(script, self._keys, args)
        return replies


def _behind(after: Spot | None, score: int | str) -> tuple[int | str | float, bytes]:
    return (score, b"") if after is None else (repr(after.at), bytes.fromhex(after.id))


def _rest(reply: Sequence[bytes]) -> Spot | None:
    return Spot(float(reply[0]), reply[1].hex()) if reply else None


def _target(name: bytes) -> Target:
    text = name.decode()
    return Target("group", text[1:]) if text.startswith("*") else Target("channel", text)
