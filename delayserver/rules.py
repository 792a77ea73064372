"""Plain options -> a `Rule`, wherever a schedule is from: code, settings, a row, the command line.

A part that is wrong is refused with its name, what was expected, and what came.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict

from .backoff import Retry
from .conf import get_settings
from .content import shown
from .errors import InvalidMessage, InvalidSchedule
from .layers import get_layer
from .message import Message, Target, instant_of, milliseconds
from .occurrences import CatchUp, Overlap, Rule, Source
from .recurrence import Cron, Every

MAX_NAME_LENGTH = 100
MAX_NAME_BYTES = 170  # of an id's 200
LOOKED_AT = 200  # occurrences, to see how soon one may follow another
MAX_YEAR = 2_200  # to what stores can keep
POLICIES = {"catch_up": ("one", "skip", "all"), "overlap": ("allow", "skip", "queue_one")}
RHYTHM = ("every", "anchor", "cron", "tz", "dst")
TARGET = ("channel", "group")


class ScheduleOptions(TypedDict, total=False):
    """How a schedule behaves beyond its rhythm and its message.

    catch_up, catch_up_window
        what becomes of occurrences that no server was there to send: the last ``"one"`` of them goes out (the
        default), or none (``"skip"``), or ``"all"`` that are not older than the window (default: a day)
    overlap
        what happens while the occurrence before is in the store, waiting or without its ack: it does not matter
        (``"allow"``, the default), this one is left out (``"skip"``), or it waits its turn and the newest counts
        (``"queue_one"``)
    jitter
        each occurrence goes out up to so much later, by chance
    starts, ends, max_runs
        aware datetimes, and how many occurrences there will be in all
    enabled
        False for a schedule that does not run
    expires
        how long after it was due, its jitter included, an occurrence may still go out
    retry
        a `Retry`, or its parts as a dict
    """

    catch_up: CatchUp
    catch_up_window: int | timedelta
    overlap: Overlap
    jitter: int | timedelta
    starts: datetime
    ends: datetime
    max_runs: int
    enabled: bool
    expires: int | timedelta
    retry: Retry | Mapping[str, Any]


PARTS = (*RHYTHM, *TARGET, "message", *ScheduleOptions.__annotations__)


def make_rule(name: str, options: Mapping[str, Any], source: Source, where: str = "") -> Rule:
    """A rule from plain options, as settings and rows have them; `InvalidSchedule` names the part that is wrong."""
    check_name(name)
    if unknown := options.keys() - {*PARTS, "recurrence"}:
        got = ", ".join(shown(part) for part in sorted(map(str, unknown)))
        raise InvalidSchedule(f"expected no parts but {', '.join(PARTS)}; got {got}")
    recurrence, behaviour = _recurrence(options), _behaviour(options)
    if behaviour.get("jitter"):
        _check_jitter(recurrence, behaviour["jitter"])
    return Rule(name=name, recurrence=recurrence, source=source, where=where, **_message(options), **behaviour)


def _check_jitter(recurrence: Every | Cron, jitter: int) -> None:
    """Refuse one with which an occurrence might go out after the next. Of cron the gaps of a while are looked at."""
    instant, gap = 0, jitter + 1
    for _ in range(LOOKED_AT):
        following = recurrence.next_ms(instant)
        instant, gap = following, min(gap, following - instant) if instant else gap
    if gap <= jitter:
        raise InvalidSchedule(f"expected jitter to be less than {gap} ms, by which occurrences may follow", "jitter")


def check_name(name: object) -> None:
    """Raise `InvalidSchedule` for what is no name of a schedule."""
    fits = isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable() and name == name.strip()
    if not fits or len(str(name).encode()) > MAX_NAME_BYTES:
        raise InvalidSchedule(
            f"expected name to be 1 to {MAX_NAME_LENGTH} printable characters without spaces at the ends, at most"
            f" {MAX_NAME_BYTES} bytes, got {shown(name)}",
            "name",
        )


@contextlib.contextmanager
def _about(part: str) -> Iterator[None]:
    """What is refused here is this part, unless the refusal names another."""
    try:
        yield
    except InvalidMessage as error:
        raise InvalidSchedule(str(error), part) from error
    except InvalidSchedule as error:
        error.part = error.part or part
        raise


def _recurrence(options: Mapping[str, Any]) -> Every | Cron:
    given = [name for name in ("recurrence", "every", "cron") if options.get(name) is not None]
    if len(given) != 1:
        raise InvalidSchedule(f"expected one of every and cron, got {' and '.join(given) or 'neither'}", "cron")
    if "recurrence" in given:
        if not isinstance(options["recurrence"], Every | Cron):
            raise InvalidSchedule(f"expected recurrence to be a Cron or an Every, got {shown(options['recurrence'])}")
        recurrence: Every | Cron = options["recurrence"]
        return recurrence
    if "cron" in given:
        if options.get("anchor") is not None:
            raise InvalidSchedule("expected anchor only beside every, got it beside cron", "anchor")
        with _about("cron"):
            return Cron(
                options["cron"], **{part: options[part] for part in ("tz", "dst") if options.get(part) is not None}
            )
    if beside := [part for part in ("tz", "dst") if options.get(part) is not None]:
        raise InvalidSchedule(f"expected {' and '.join(beside)} only beside cron, got it beside every", beside[0])
    with _about("every"):
        return Every(_interval(options["every"]), anchor=_when("anchor", options.get("anchor")))


def _interval(every: object) -> timedelta:
    """In settings and commands a number is seconds, for `every` alone."""
    if isinstance(every, int | float) and not isinstance(every, bool):
        try:
            return timedelta(milliseconds=round(every * 1000))
        except (OverflowError, ValueError) as error:
            raise InvalidSchedule(f"expected every to be from 1 ms to 100 years, got {shown(every)} s") from error
    if not isinstance(every, timedelta):
        raise InvalidSchedule(f"expected every to be seconds or a timedelta, got {shown(every)}")
    return every


def _message(options: Mapping[str, Any]) -> dict[str, Any]:
    """Where it goes, what it sends, and how often that is tried."""
    content, retry = options.get("message"), options.get("retry")
    if content is None:
        raise InvalidSchedule("expected a message, got none (or, as a decorator, no method)", "message")
    with _about("retry"):
        if isinstance(retry, Mapping):
            retry = Retry.parse(retry)
        elif retry is not None and not isinstance(retry, Retry):
            raise InvalidSchedule(f"expected retry to be a Retry or its parts as a dict, got {shown(retry)}")
    target, settings = _target(options), get_settings()
    channel, group = (target.name, None) if target.kind == "channel" else (None, target.name)
    if not isinstance(content, dict):  # and no more of it: it may be secret
        raise InvalidSchedule(f"expected message to be a dict, got {type(content).__name__}", "message")
    with _about("message"):
        message = Message(content=content, channel=channel, group=group, delay=0, retry=retry)
        body = message.pack(settings.max_message_bytes)
        get_layer(settings.channel_layer).check(content)
    return {"target": target, "body": body, "retry": retry}


def _target(options: Mapping[str, Any]) -> Target:
    given: list[Any] = [kind for kind in TARGET if options.get(kind)]
    if len(given) != 1:
        raise InvalidSchedule(f"expected one of channel and group, got {'both' if given else 'neither'}", "channel")
    with _about(given[0]):
        target = Target(given[0], options[given[0]])
        if target == Target("channel", get_settings().channel):
            raise InvalidSchedule(f"expected a target other than {target.name} itself")
    return target


def _behaviour(options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, allowed in POLICIES.items():
        if (value := options.get(name)) is not None:
            if value not in allowed:
                raise InvalidSchedule(f"expected {name} to be {', '.join(allowed)}, got {shown(value)}", name)
            found[name] = value
    for name in ("catch_up_window", "jitter", "expires"):
        if options.get(name) is not None:
            with _about(name):
                found[name] = milliseconds(name, options[name])
    for name in ("starts", "ends"):
        with _about(name):
            if (at := _when(name, options.get(name))) is not None:
                found[name] = instant_of(name, at)
            if at is not None and at.year > MAX_YEAR:
                raise InvalidSchedule(f"expected {name} to be in {MAX_YEAR} or before, got {shown(at)}")
    if "starts" in found and "ends" in found and found["ends"] < found["starts"]:
        raise InvalidSchedule("expected ends not to be before starts", "ends")
    if (runs := options.get("max_runs")) is not None:
        if type(runs) is not int or runs < 1:
            raise InvalidSchedule(f"expected max_runs to be a whole number, 1 or more, got {shown(runs)}", "max_runs")
        found["max_runs"] = runs
    if (enabled := options.get("enabled")) is not None:
        if type(enabled) is not bool:
            raise InvalidSchedule(f"expected enabled to be True or False, got {shown(enabled)}", "enabled")
        found["enabled"] = enabled
    return found


def _when(name: str, value: object) -> datetime | None:
    """An aware datetime, or one in ISO 8601 with its offset."""
    if isinstance(value, str) and len(value) <= 64:
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidSchedule(
            f"expected {name} to be an aware datetime, or ISO 8601 with offset, got {shown(value)}", name
        )
    return value
