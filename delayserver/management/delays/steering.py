"""``delays cancel`` and ``delays run-now``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from delayserver.errors import StoreUnavailable
from delayserver.stores.base import Named
from delayserver.stores.shelf import Wanted

from .desk import USAGE, Desk
from .listing import FILTERS, Options, ids_by, named_by, wanted_by
from .terminal import counted, number

MOST_COUNTED = 10_000


def cancel(desk: Desk, options: Options) -> None:
    """Waiting -> gone: what is named, or all that the filters find."""
    key, ids = options["key"], options["words"]
    others = any(options[name] is not None for name in FILTERS if name != "key")
    if ids and (others or key is not None):
        desk.refuse("expected IDs or filters, got both", USAGE)
    if ids:
        ids = ids_by(desk, options)
        _tell_done(desk, "cancelled", dict(zip(ids, desk.ask(desk.shelves.cancel, ids), strict=True)))
    elif key is not None and not key.endswith("*") and not others:
        _tell_done(desk, "cancelled", {key: desk.ask(desk.shelves.cancel_key, key)})
    elif key is not None or others:
        _cancel_all(desk, wanted_by(desk, options))
    else:
        desk.refuse("expected IDs, --key or a filter, got none", USAGE)


def _cancel_all(desk: Desk, wanted: Wanted) -> None:
    if not desk.is_sure:
        found = desk.ask(desk.shelves.count_wanted, wanted, MOST_COUNTED)
        messages = f"more than {number(MOST_COUNTED)} messages" if found > MOST_COUNTED else counted(found, "message")
        if found and not desk.confirm(f"Cancel {messages}?"):
            return
    gone = desk.ask(_cancel_wanted, desk, wanted)
    desk.tell(cancelled=gone, not_found=[], away=desk.away)
    desk.say(f"Cancelled {counted(gone, 'message')}." if gone else "No message waits that fits.")


async def _cancel_wanted(desk: Desk, wanted: Wanted) -> int:
    gone = 0
    async for gone in desk.shelves.cancel_wanted(wanted):
        desk.progress(f"cancelled {number(gone)} ...")
    desk.progress()
    return gone


def run_now(desk: Desk, options: Options) -> None:
    """Waiting -> waiting, due now."""
    _tell_done(desk, "due_now", desk.ask(_run_now, desk, named_by(desk, options)))


async def _run_now(desk: Desk, named: Sequence[Named]) -> dict[str, bool]:
    """For each whether it was waiting. Raises only where none was."""
    done, away = dict[str, bool](), None
    for one in named:
        name = one.id or one.key or ""
        try:
            done[name] = await desk.shelves.run_now(one)
        except StoreUnavailable as error:
            done[name], away = False, error
    if away is not None and not any(done.values()):
        raise away
    return done


def _tell_done(desk: Desk, done: str, by_name: Mapping[str, bool]) -> None:
    """How many of those named it was done to; exit code 1 where one was not in time."""
    number_done, missed = sum(by_name.values()), [name for name, was_done in by_name.items() if not was_done]
    desk.tell(**{done: number_done}, not_found=missed, away=desk.away)
    if number_done:
        desk.say(f"{done.replace('_', ' ').capitalize()}: {counted(number_done, 'message')}.")
    if missed:
        away = ", or on a store that is away" if desk.away else ""
        desk.refuse(f"not waiting (claimed, handed over, or never here{away}): {', '.join(missed)}")
