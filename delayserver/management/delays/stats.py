"""``delays stats``: how much waits, and what is late."""

from __future__ import annotations

from delayserver.message import Target
from delayserver.stores.shelf import Tally
from delayserver.stores.shelves import Overview

from . import terminal
from .desk import Desk
from .listing import Options
from .terminal import Column, local, number, relative, span

COLUMNS = (
    Column("TARGET", least=8),
    Column("WAITING", right=True),
    Column("HELD BACK", right=True),
    Column("CLAIMED", right=True),
    Column("FIRST DUE"),
)


def stats(desk: Desk, options: Options) -> None:
    """Everything counted."""
    overview = desk.ask(_counted, desk)
    targets = sorted(overview.targets.items(), key=lambda one: (-_all_of(one[1]), one[0].name, one[0].kind))
    shown, more = targets[: options["top"]], len(targets[options["top"] :])
    if desk.as_json:
        _tell(desk, overview, shown, more)
        return
    for name, value in _lines(overview):
        desk.say(f"{name:14}  {value}")
    if shown:
        desk.say()
        desk.table(COLUMNS, [_row(target, tally, overview.now) for target, tally in shown])
    if more:
        rest = Tally()
        for _, tally in targets[options["top"] :]:
            rest = rest.plus(tally)
        messages = terminal.counted(_all_of(rest), "message")
        desk.say(f"and {terminal.counted(more, 'more target')} with {messages} (--top {len(targets)})")


async def _counted(desk: Desk) -> Overview:
    """The last and whole overview; each step there is told."""
    overview = None
    async for overview in desk.shelves.overview():
        desk.progress(f"counted {number(_all_of(overview.total))} ...")
    desk.progress()
    assert overview is not None, "there is always a last one"
    return overview


def _all_of(tally: Tally) -> int:
    return tally.waiting + tally.held_back + tally.claimed


def _lines(overview: Overview) -> list[tuple[str, str]]:
    total, now, overdue, due = overview.total, overview.now, overview.oldest_overdue, overview.next_due
    return [
        ("waiting", number(total.waiting)),
        ("held back", number(total.held_back)),
        ("claimed", number(total.claimed)),
        ("dead", number(overview.dead)),
        ("oldest overdue", f"{span(now - overdue)} (since {local(overdue)})" if overdue is not None else "none"),
        ("next due", f"{relative(due, now)} ({local(due)})" if due is not None else "none"),
    ]


def _row(target: Target, tally: Tally, now: int) -> list[str]:
    numbers = [number(n) if n else "" for n in tally[:3]]
    first = "" if tally.first_due is None else relative(tally.first_due, now, "overdue {}")
    return [f"{'group ' * (target.kind == 'group')}{target.name}", *numbers, first]


def _tell(desk: Desk, overview: Overview, shown: list[tuple[Target, Tally]], more: int) -> None:
    overdue, due = overview.oldest_overdue, overview.next_due
    desk.tell(
        now=terminal.iso(overview.now),
        **_numbers(overview.total),
        dead=overview.dead,
        oldest_overdue=terminal.iso(overdue),
        oldest_overdue_ms=overdue,
        overdue_for_ms=0 if overdue is None else overview.now - overdue,
        next_due=terminal.iso(due),
        next_due_ms=due,
        targets=[
            {
                "channel": target.name if target.kind == "channel" else None,
                "group": target.name if target.kind == "group" else None,
                **_numbers(tally),
                "first_due": terminal.iso(tally.first_due),
                "first_due_ms": tally.first_due,
            }
            for target, tally in shown
        ],
        more_targets=more,
        away=desk.away,
    )


def _numbers(tally: Tally) -> dict[str, int]:
    return {"waiting": tally.waiting, "held_back": tally.held_back, "claimed": tally.claimed}
