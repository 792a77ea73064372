"""The rows of the model `Schedule`, as plain options: read by servers, and written by the commands."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, router
from django.db.models import QuerySet
from django.utils import timezone

from ..conf import get_settings
from ..errors import ConfigurationError
from ..models import Schedule
from ..occurrences import Pause
from .base import STORE_THREAD
from .database_link import DatabaseLink

PARTS = tuple(
    field.name
    for field in Schedule._meta.concrete_fields
    if field.name not in ("id", "name", "paused_by", "paused_why", "paused_at")
)
READ_SECONDS = 2.0

_DEFAULTS = {field.name: field.get_default() for field in Schedule._meta.concrete_fields}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")


class Row(NamedTuple):
    """One row; `fault` where its columns hold what they cannot."""

    pk: int
    name: str
    options: Mapping[str, Any]
    fault: str | None = None


class ScheduleRows:
    """All rows, from any event loop; and none where the project has no database."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._asked: asyncio.Future[list[Row]] | None = None
        self._raw: list[tuple[Any, ...]] | None = None
        self._rows: list[Row] = []

    async def open(self) -> None:
        """From now on in a thread of its own, so that no slow view holds schedules up."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{STORE_THREAD}-schedules")

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if self._asked is not None:
            self._asked.cancel()
        if thread is not None:
            thread.submit(connections.close_all)
            thread.shutdown(wait=False)

    async def read(self) -> list[Row]:
        """All rows. Raises `TimeoutError` where the database takes long: then the answer is the next one's."""
        if self._thread is None:
            return await self._run(self._read)
        timeout = 0.0
        if self._asked is None:
            self._asked, timeout = asyncio.ensure_future(self._run(self._read)), READ_SECONDS
        done, _ = await asyncio.wait([self._asked], timeout=timeout)
        if not done:
            raise TimeoutError(f"no answer within {READ_SECONDS:.0f} s")
        self._asked = None
        return done.pop().result()

    async def switch(self, name: str, *, on: bool, by: str = "", why: str = "") -> bool:
        """Enable or disable a row, with a note of who and why; True unless it was so already."""
        return await self._run(functools.partial(switch, [name], on=on, by=by, why=why)) > 0

    async def pauses(self) -> dict[str, Pause]:
        """Who disabled which rows, why and when (0 where that is not known)."""
        return await self._run(read_pauses)

    async def save(self, name: str, parts: Mapping[str, Any], *, new: bool) -> None:
        """Make a row, or change these parts of one; None is the part left out. Nothing is checked."""
        await self._run(functools.partial(save, name, parts, new=new))

    async def delete(self, name: str) -> bool:
        """True if there was one."""
        return await self._run(functools.partial(delete, name)) > 0

    def _read(self) -> list[Row]:
        """Mostly nothing has changed, and to see that is much cheaper than to make sense of every column."""
        using = database()
        if using is None:
            return []
        link = DatabaseLink(using)
        link.tidy()
        raw = link.again(_raw, using)
        if raw is None or raw != self._raw:  # what changes between the two is seen the next time
            self._rows = link.again(_read, using)
            self._raw = raw
        return self._rows

    async def _run(self, act: Callable[[], T]) -> T:
        if self._thread is None:
            return await sync_to_async(act)()
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)


def database() -> str | None:
    """Where the rows are: beside the messages, or where the project's routers have them; None without a database."""
    using: str = get_settings().store_options.get("using") or router.db_for_write(Schedule)
    return None if connections[using].vendor == "unknown" else using


def switch(names: Collection[str], *, on: bool, by: str = "", why: str = "") -> int:
    """Enable or disable rows, with a note of who and why; how many were not so already."""
    note: dict[str, Any] = {"paused_by": "", "paused_why": "", "paused_at": None}
    if not on:
        note = {"paused_by": by[:150], "paused_why": why[:500], "paused_at": timezone.now()}
    return _named(*names).exclude(enabled=on).update(enabled=on, **note)


def save(name: str, parts: Mapping[str, Any], *, new: bool) -> None:
    columns = {part: _stored(part, value) for part, value in parts.items()}
    if new:
        Schedule.objects.using(_database()).create(name=name, **columns)
    else:
        _named(name).update(**columns)


def _stored(part: str, value: object) -> object:
    """The opposite of `_row`: what is left out as its column's default, and an instant as the project keeps them."""
    if value is None:
        return _DEFAULTS[part]
    if isinstance(value, datetime) and timezone.is_naive(timezone.now()):  # without USE_TZ
        return timezone.make_naive(value)
    return value


def delete(name: str) -> int:
    return _named(name).delete()[0]


def _named(*names: str) -> QuerySet[Schedule]:
    return Schedule.objects.using(_database()).filter(name__in=names)


def _database() -> str:
    using = database()
    if using is None:
        raise ConfigurationError("schedules as rows need a database: see DATABASES")
    return using


def read_rows() -> list[Row]:
    """Every row, in the order in which they were made; a row that cannot be read holds up no other."""
    using = database()
    if using is None:
        return []
    link = DatabaseLink(using)
    link.tidy()
    return link.again(_read, using)


def _raw(using: str) -> list[tuple[Any, ...]] | None:
    """Every row as the driver has it; None where it cannot read one."""
    rows = Schedule.objects.using(using).order_by("pk").values_list("pk", "name", *PARTS)
    statement, values = rows.query.get_compiler(using).as_sql()
    try:
        with connections[using].cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())
    except Exception:
        if not connections[using].is_usable():
            raise
        return None


def read_pauses() -> dict[str, Pause]:
    """The notes on rows that are disabled; one that cannot be read is none."""
    using = database()
    if using is None:
        return {}
    rows = Schedule.objects.using(using).filter(enabled=False)
    try:
        noted = list(rows.values_list("name", "paused_by", "paused_why", "paused_at"))
    except Exception:  # noqa: BLE001  as for `_read`
        noted = [(*texts, None) for texts in rows.values_list("name", "paused_by", "paused_why")]
    return {name: Pause(by, why, _ms(at)) for name, by, why, at in noted if by or why or at}


def _ms(at: object) -> int:
    at = _aware(at)
    return (at - _EPOCH) // timedelta(milliseconds=1) if isinstance(at, datetime) else 0


def _read(using: str) -> list[Row]:
    """A column may hold what its type cannot, or no text at all: then one row after the other."""
    rows = Schedule.objects.using(using).order_by("pk")
    try:
        return [_row(*values) for values in rows.values_list("pk", "name", *PARTS)]
    except Exception:  # noqa: BLE001  where the database is away, this raises again
        return [_one(rows, pk) for pk in rows.values_list("pk", flat=True)]


def _one(rows: QuerySet[Schedule], pk: int) -> Row:
    name = f"(row {pk})"
    try:
        name = rows.values_list("name", flat=True).get(pk=pk)
        return _row(pk, name, *rows.values_list(*PARTS).get(pk=pk))
    except Exception:
        if not connections[rows.db].is_usable():
            raise
        return Row(pk, name, {}, f"cannot be read: {', '.join(_unreadable(rows, pk)) or 'it changes just now'}")


def _unreadable(rows: QuerySet[Schedule], pk: int) -> Iterator[str]:
    """The columns that hold what they cannot."""
    for part in ("name", *PARTS):
        try:
            list(rows.filter(pk=pk).values_list(part))
        except Exception:  # noqa: BLE001  whatever the converter says
            yield part


def _row(pk: int, name: object, *values: object) -> Row:
    if not isinstance(name, str):
        return Row(pk, f"(row {pk})", {}, "its name is no text")
    return Row(pk, name, options_of(dict(zip(PARTS, values, strict=True))))


def options_of(columns: Mapping[str, object]) -> dict[str, Any]:
    """What `make_rule` is told of these columns: an empty one says nothing."""
    return {part: _aware(value) for part, value in columns.items() if value not in (None, "")}


def _aware(value: object) -> object:
    """Without USE_TZ a datetime is one of the project's own time zone."""
    return timezone.make_aware(value) if isinstance(value, datetime) and timezone.is_naive(value) else value
