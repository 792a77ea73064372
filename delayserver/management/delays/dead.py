"""``delays dead``, ``requeue`` and ``purge``: dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from delayserver.message import DeadLetter

from . import cursor, terminal
from .contents import type_of
from .desk import USAGE, Desk
from .listing import Options, ids_by, target_of
from .showing import letter_told
from .terminal import CUT, Column, counted, number, relative

COLUMNS = (
    Column("DIED"),
    Column("TARGET", least=8),
    Column("TYPE", least=8, optional=True),
    Column("REASON", least=20),
    Column("ID"),
)
NONE = "No dead letters."


def dead_list(desk: Desk, options: Options) -> None:
    """The next page of dead letters, newest first."""
    letters, rest = desk.ask(desk.shelves.dead_letters, options["limit"], options["after"])
    more = rest and cursor.written(rest)
    told = [letter_told(desk, letter) for letter in letters]
    desk.tell(now=terminal.iso(desk.now), dead_letters=told, next=more, away=desk.away)
    if letters and not desk.as_json:
        desk.table(COLUMNS, [_row(desk, letter) for letter in letters])
    if more:
        desk.say(f"More: the same with --after {more}")
    elif letters or options["after"]:
        desk.say(f"{counted(len(letters), 'dead letter')}, and no more.")
    else:
        desk.say(NONE)


def _row(desk: Desk, letter: DeadLetter) -> list[str]:
    message = letter.message
    type_ = type_of(letter.body, desk.unseal) or CUT if message else ""
    target = target_of(message) if message else f"from {letter.source}"
    return [relative(letter.at, desk.now), target, type_, letter.reason, letter.id]


# -- requeue -------------------------------------------------------------------------------------------------


def requeue(desk: Desk, options: Options) -> None:
    """Dead letter -> waiting, due now."""
    if _is_bulk(desk, options, "--all"):
        return _requeue_all(desk)
    ids = ids_by(desk, options)
    letters = desk.ask(desk.shelves.find_dead, ids)
    done = dict(zip(ids, desk.ask(desk.shelves.requeue, ids), strict=True))
    left = [id for id, was_done in done.items() if not was_done]
    never = [id for id in left if id in letters and letters[id].message is None]
    gone = [id for id in left if id not in never]
    desk.tell(requeued=sum(done.values()), not_found=gone, no_message=never, away=desk.away)
    if any(done.values()):
        desk.say(f"Requeued {counted(sum(done.values()), 'message')}, due now.")
    faults = [_missed(desk, gone)] if gone else []
    if never:
        faults.append(f"what came never was a message, so it cannot be sent: {', '.join(never)}")
    if faults:
        desk.refuse("; ".join(faults))
    return None


def _requeue_all(desk: Desk) -> None:
    letters = desk.ask(_ids, desk, None)
    ids = [id for id, is_message in letters.items() if is_message]
    never = len(letters) - len(ids)
    if ids and not desk.confirm(f"Requeue {counted(len(ids), 'dead letter')}?"):
        return
    requeued = desk.ask(_in_portions, desk, "requeued", ids)
    no_message = [id for id, is_message in letters.items() if not is_message]
    desk.tell(requeued=requeued, not_found=[], no_message=no_message, away=desk.away)
    if ids:
        desk.say(f"Requeued {counted(requeued, 'message')}, due now.")
    elif not never:
        desk.say(NONE)
    if never:
        desk.say(f"{counted(never, 'dead letter')} stayed: what came never was a message.")


# -- purge ---------------------------------------------------------------------------------------------------


def purge(desk: Desk, options: Options) -> None:
    """Dead letter -> gone."""
    if _is_bulk(desk, options, "--all or --older-than"):
        return _purge_all(desk, options)
    ids = ids_by(desk, options)
    done = dict(zip(ids, desk.ask(desk.shelves.purge, ids), strict=True))
    gone = [id for id, was_done in done.items() if not was_done]
    desk.tell(purged=sum(done.values()), not_found=gone, away=desk.away)
    if any(done.values()):
        desk.say(f"Purged {counted(sum(done.values()), 'dead letter')}.")
    if gone:
        desk.refuse(_missed(desk, gone))
    return None


def _purge_all(desk: Desk, options: Options) -> None:
    age = options["older_than"]
    ids = list(desk.ask(_ids, desk, None if age is None else max(0, desk.now - age)))
    if ids and not desk.confirm(f"Purge {counted(len(ids), 'dead letter')}?"):
        return
    purged = desk.ask(_in_portions, desk, "purged", ids)
    desk.tell(purged=purged, not_found=[], away=desk.away)
    desk.say(f"Purged {counted(purged, 'dead letter')}." if ids else "No dead letters that old." if age else NONE)


# -- both ----------------------------------------------------------------------------------------------------


def _missed(desk: Desk, ids: Sequence[str]) -> str:
    where = " where a store answers" if desk.away else ""
    return f"no dead letter{where} has this id: {', '.join(ids)}"


def _is_bulk(desk: Desk, options: Options, flags: str) -> bool:
    """Whether all are meant; wrong usage unless that or ids are given."""
    bulk = options["all"] or options.get("older_than") is not None
    if bulk == bool(options["words"]):
        desk.refuse(f"expected IDs or {flags}, got {'both' if bulk else 'neither'}", USAGE)
    return bool(bulk)


async def _ids(desk: Desk, before: int | None) -> dict[str, bool]:
    """The ids of all dead letters, or those that died before an instant; and whether each is a message."""
    ids: dict[str, bool] = {}
    async for letters in desk.shelves.dead_pages(before):
        ids |= {letter.id: letter.message is not None for letter in letters}
    return ids


async def _in_portions(desk: Desk, done: str, ids: Sequence[str]) -> int:
    """All of them requeued, or purged; how many were still there."""
    act = desk.shelves.requeue if done == "requeued" else desk.shelves.purge
    total = 0
    for start in range(0, len(ids), 100):
        total += sum(await act(ids[start : start + 100]))
        desk.progress(f"{done} {number(total)} ...")
    desk.progress()
    return total
