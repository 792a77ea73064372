"""Which of an app's tasks are shown, and what of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from celery.local import maybe_evaluate

from ..content import shown
from ..errors import ConfigurationError

CELERYS_OWN = ("celery.backend_cleanup", "celery.chord_unlock")  # nobody waits for these


@dataclass(frozen=True, slots=True)
class Shown:
    """The options of an app; `ConfigurationError` for what is none."""

    tasks: Collection[str] | Callable[[str], bool] | None
    results: bool

    def __post_init__(self) -> None:
        tasks = self.tasks
        if isinstance(tasks, Collection) and not isinstance(tasks, str | bytes):
            if not all(isinstance(name, str) for name in tasks):
                raise ConfigurationError(f"expected tasks to be names of tasks, got {shown(tasks)}")
        elif tasks is not None and not callable(tasks):
            raise ConfigurationError(f"expected tasks to be a list of names, or a function, got {shown(tasks)}")
        if not isinstance(self.results, bool):
            raise ConfigurationError(f"expected results to be True or False, got {shown(self.results)}")

    def has(self, name: str) -> bool:
        if self.tasks is None:
            return name not in CELERYS_OWN
        return bool(self.tasks(name)) if callable(self.tasks) else name in self.tasks


_apps: WeakKeyDictionary[Any, Shown] = WeakKeyDictionary()


def choose(app: Any, options: Shown) -> None:
    """From now on the app's tasks are shown so."""
    _apps[maybe_evaluate(app)] = options


def shown_of(app: Any, name: str) -> Shown | None:
    """The options of an app's task, if it is shown."""
    options = _apps.get(app)
    return options if options is not None and options.has(name) else None


def is_shown_by_any(name: str) -> bool:
    """Whether a task of that name is shown: who hears of one that is sent is not told by which app."""
    return any(options.has(name) for options in _apps.values())
