"""The tables, and the questions asked of them. What is done with them: stores/database*, once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

HOME_GRACE_MS = 1_000  # so long a message waits for its own process before any other takes it
BACKLOG_GRACE_MS = 60_000  # and in a backlog: so long the in-memory layer keeps what lies on a full channel
SLOT_MS = 2**43  # due instants lie before it, until the year 2248: see `in_slot`

INSTANT = models.ExpressionWrapper(models.F("due") % SLOT_MS, models.BigIntegerField())  # due, in a backlog or not


class ExactCharField(models.CharField):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """Text that every database compares and sorts as Python does: by code point, case and all."""

    collations = {"mysql": "utf8mb4_bin", "postgresql": "C"}

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        if connection.vendor == "postgresql":  # another name for varchar, for which Django adds a LIKE index
            return f"character varying({self.max_length})"
        return str(super().db_type(connection))

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": self.collations.get(connection.vendor)}


class DelayedMessageQuerySet(models.QuerySet["DelayedMessage"]):
    def of(self, layer: str) -> DelayedMessageQuerySet:
        return self.filter(layer=layer)

    def waiting(self) -> DelayedMessageQuerySet:
        return self.filter(generation=0)

    def in_order(self) -> DelayedMessageQuerySet:
        return self.order_by("due", "id")

    def due_by(self, now: int, homes: Collection[str]) -> DelayedMessageQuerySet:
        """Due for a process that is at home in `homes`: those of other homes only after their grace."""
        ours = models.Q(home__in=homes) | models.Q(due__lte=now - HOME_GRACE_MS)
        return self.filter(ours, due__lte=now)

    def outside_of_backlogs(self) -> DelayedMessageQuerySet:
        return self.filter(due__lt=SLOT_MS)

    def in_slot(self, slot: int, now: int, homes: Collection[str]) -> DelayedMessageQuerySet:
        """In the backlogs of this slot, from 1 on, for a process that is at home in `homes`.

        `due` is `slot` times `SLOT_MS` and the due instant there. So each is one range of the index, in due order,
        behind all that is not in a backlog.
        """
        start = slot * SLOT_MS
        ours = models.Q(home__in=homes) | models.Q(due__lte=start + now - BACKLOG_GRACE_MS)
        return self.filter(ours, due__gte=start, due__lt=start + SLOT_MS)

    def tallied(self) -> Iterable[tuple[Any, ...]]:
        """For each target: kind, name, how many wait, are held back, are claimed; and when the first is due."""
        waits = models.Q(generation=0)
        numbers = {
            "waiting": models.Count("pk", filter=waits & models.Q(due__lt=SLOT_MS)),
            "held_back": models.Count("pk", filter=waits & models.Q(due__gte=SLOT_MS)),
            "claimed": models.Count("pk", filter=~waits),
            "first_due": models.Min(INSTANT, filter=waits),
        }
        return self.order_by().values_list("kind", "name").annotate(**numbers)

    def for_backlog(self, name: str) -> DelayedMessageQuerySet:
        """Whose `Target.backlogs` have this name."""
        if name.startswith("*"):
            return self.filter(kind="group", name=name[1:])
        if name.endswith("!"):
            return self.filter(kind="channel", name__startswith=name)
        return self.filter(kind="channel", name=name)


class DelayedMessage(models.Model):
    """A message that waits, or is claimed: then `generation` is not 0 and `due` is the end of the lease.

    In a backlog, `due` lies in the backlog's slot.
    """

    id = ExactCharField(primary_key=True, max_length=200)
    layer = ExactCharField(max_length=100)
    home = ExactCharField(max_length=100, default="", blank=True)
    due = models.BigIntegerField()
    generation = models.BigIntegerField(default=0)
    kind = models.CharField(max_length=10)
    name = ExactCharField(max_length=100)
    key = models.CharField(max_length=64, null=True, blank=True)
    body = models.BinaryField()
    options = models.BinaryField(default=b"")

    objects = DelayedMessageQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["layer", "key"], name="delayserver_key")]
        indexes = [models.Index(fields=["layer", "due", "id"], name="delayserver_due")]

    def __str__(self) -> str:
        return f"{self.id} for {self.kind} {self.name}"


class DeadMessageQuerySet(models.QuerySet["DeadMessage"]):
    def of(self, layer: str) -> DeadMessageQuerySet:
        return self.filter(layer=layer)

    def newest_first(self) -> DeadMessageQuerySet:
        return self.order_by("-at", "-message_id", "-id")


class DeadMessage(models.Model):
    """A dead letter. One with a `kind` and `name` holds a message, as `DelayedMessage` does; any other what came."""

    id = models.BigAutoField(primary_key=True)
    message_id = ExactCharField(max_length=200)
    layer = ExactCharField(max_length=100)
    at = models.BigIntegerField()
    reason = ExactCharField(max_length=1_000)
    source = ExactCharField(max_length=200)
    kind = models.CharField(max_length=10, default="", blank=True)
    name = ExactCharField(max_length=100, default="", blank=True)
    body = models.BinaryField()
    options = models.BinaryField(default=b"")

    objects = DeadMessageQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["layer", "at", "message_id"], name="delayserver_dead")]
        verbose_name = "dead letter"

    def __str__(self) -> str:
        return f"{self.message_id}: {self.reason}"


class Schedule(models.Model):
    """A schedule that is kept as a row: edited in the admin, by commands, by the ORM or by SQL.

    Its parts are those of `delayserver.schedule`.
    Every column that may be left out has a default in the database, too.
    """

    name = ExactCharField(max_length=100, unique=True)
    cron = models.CharField(
        max_length=1_000,
        blank=True,
        default="",
        db_default="",
        help_text="Minute, hour, day of month, month, day of week; or six fields with seconds last.",
    )
    tz = models.CharField(
        "time zone", max_length=100, blank=True, default="", db_default="", help_text="Of cron; UTC if left out."
    )
    dst = models.CharField(
        "when clocks change",
        max_length=10,
        blank=True,
        default="",
        db_default="",
        choices=[("debian", "as Debian's cron"), ("wall", "whenever the wall clock matches")],
    )
    every = models.DurationField(null=True, blank=True, help_text="Instead of cron: an interval, as in 00:05:00.")
    anchor = models.DateTimeField(
        null=True, blank=True, help_text="An instant of the interval's grid; if left out, when the schedule began."
    )
    channel = models.CharField(max_length=100, blank=True, default="", db_default="")
    group = models.CharField(max_length=100, blank=True, default="", db_default="")
    message = models.JSONField(help_text='What is sent, with its type: {"type": "report.build"}')
    enabled = models.BooleanField(default=True, db_default=True)
    catch_up = models.CharField(
        max_length=10,
        default="one",
        db_default="one",
        choices=[("one", "run once"), ("skip", "skip"), ("all", "run all")],
        help_text="What becomes of occurrences that were missed while no server ran.",
    )
    catch_up_window = models.DurationField(null=True, blank=True, help_text="No older ones; a day if left out.")
    overlap = models.CharField(
        max_length=10,
        default="allow",
        db_default="allow",
        choices=[("allow", "allow"), ("skip", "skip"), ("queue_one", "queue one")],
        help_text="What happens while the occurrence before is not done.",
    )
    jitter = models.DurationField(null=True, blank=True, help_text="Each goes out up to so much later, by chance.")
    starts = models.DateTimeField(null=True, blank=True)
    ends = models.DateTimeField(null=True, blank=True)
    max_runs = models.PositiveIntegerField(null=True, blank=True)
    expires = models.DurationField(null=True, blank=True, help_text="How late an occurrence may still go out.")
    retry = models.JSONField(null=True, blank=True, help_text='As in {"max_attempts": 5}; times in milliseconds.')
    paused_by = models.CharField(max_length=150, blank=True, default="", db_default="", editable=False)
    paused_why = models.CharField(max_length=500, blank=True, default="", db_default="", editable=False)
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name}"


class ScheduleCursorQuerySet(models.QuerySet["ScheduleCursor"]):
    def of(self, layer: str) -> ScheduleCursorQuerySet:
        return self.filter(layer=layer)


class ScheduleCursor(models.Model):
    """How far a schedule of a layer has got, as `state`, which only schedules can read."""

    id = models.BigAutoField(primary_key=True)
    layer = ExactCharField(max_length=100)
    name = ExactCharField(max_length=200)
    state = models.BinaryField()

    objects = ScheduleCursorQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["layer", "name"], name="delayserver_cursor")]

    def __str__(self) -> str:
        return f"the cursor of {self.name} on {self.layer}"


class HandledMessage(models.Model):
    """That a message's effects are there: written with them, in one transaction, by `once.first_time`."""

    id = ExactCharField(primary_key=True, max_length=200)
    at = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["at"], name="delayserver_handled")]

    def __str__(self) -> str:
        return f"{self.id}"


class ProgressEntry(models.Model):
    """A versioned entry of a layer, until `expires`, in ms since the epoch: the last known state of a piece of work.

    Its `body` only progress can read.
    """

    id = models.BigAutoField(primary_key=True)
    layer = ExactCharField(max_length=100)
    name = ExactCharField(max_length=200)
    version = models.BigIntegerField()
    body = models.BinaryField()
    expires = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["layer", "name"], name="delayserver_progress")]
        indexes = [models.Index(fields=["expires"], name="delayserver_progress_expires")]

    def __str__(self) -> str:
        return f"{self.name} on {self.layer}, version {self.version}"
