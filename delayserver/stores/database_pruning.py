"""Old rows go, a few at a time and once a minute, while new ones come: no server needs to run for it."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction
from django.db.models import Model

from ..clock import monotonic
from ..events import PRUNING_FAILED, emit

PRUNE_SECONDS = 60.0
MAX_PRUNED = 500  # in one statement: some SQLite takes no more than 999 values


class Pruning:
    """The old rows of `model`, by `column`, which is in ms since the epoch; for the log, `what` they are."""

    def __init__(self, model: type[Model], column: str, what: str) -> None:
        self._model, self._column, self._what = model, column, what
        self._looked: dict[str, float] = {}  # when this process last did, for each database

    def is_time(self, using: str) -> bool:
        """Whether it is time to `prune`; who is told so is to do it."""
        now = monotonic()
        is_time = using not in self._looked or now - self._looked[using] > PRUNE_SECONDS
        if is_time:
            self._looked[using] = now
        return is_time

    def prune(self, using: str, oldest_kept: Callable[[], int]) -> None:
        """Delete what is older, if anything is, in a transaction of its own; where more may be left, the next call
        goes on. An error is told to the log alone.
        """
        try:
            deleted = self._delete(using, oldest_kept())
        except Exception as error:  # noqa: BLE001  whatever it is, the caller's transaction has committed
            emit(PRUNING_FAILED, what=self._what, using=using, error=error)
        else:
            if deleted == MAX_PRUNED:
                self._looked.pop(using, None)

    def _delete(self, using: str, oldest_kept: int) -> int:
        """How many: the oldest, but for those that another transaction holds."""
        features = connections[using].features
        skips = features.has_select_for_update_skip_locked
        rows = self._model._base_manager.using(using)
        with transaction.atomic(using=using):
            if not features.has_select_for_update:  # of no row: SQLite waits for its write lock only before a read
                rows.filter(**{self._column: -1}).update(**{self._column: 0})
            old = rows.filter(**{f"{self._column}__lt": oldest_kept}).order_by(self._column, "pk")
            held = old.select_for_update(skip_locked=skips, nowait=not skips)
            ids = list(held.values_list("pk", flat=True)[:MAX_PRUNED])
            if ids:
                rows.filter(pk__in=ids)._raw_delete(using)
        return len(ids)
