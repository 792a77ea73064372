"""``DELAYSERVER["OFFLOAD"]``: its names, their defaults, and what is wrong with one. `conf` reads it.

Everything is closed by default: no host, no callable, no command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from .content import shown
from .errors import InvalidMessage
from .message import Target
from .offload_hosts import HostRule

DEFAULTS: Mapping[str, Any] = {
    "CHANNEL": "asgi.offload",
    "HOSTS": [],
    "PRIVATE_HOSTS": [],
    "SCHEMES": ["https", "http"],
    "CALLABLES": [],
    "COMMANDS": {},
    "COMMAND_ENV": {},
    "TIMEOUT": 10,
    "MAX_TIMEOUT": 60,
    "MAX_BODY_BYTES": 1_000_000,
    "MAX_REPLY_BYTES": 1_000_000,
    "MAX_REDIRECTS": 5,
    "MAX_AT_ONCE": 100,
    "MAX_THREADS": 16,
    "MAX_PROCESSES": 8,
    "MAX_WAITING": 1_000,
}
COMMAND_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}  # what every command has

UNKNOWN, WRONG, UNREADABLE = "delayserver.E016", "delayserver.E017", "delayserver.E018"
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadSettings:
    """What may be offloaded and how much of it; field names are the setting's keys in lower case."""

    channel: str
    hosts: tuple[HostRule, ...]
    private_hosts: tuple[HostRule, ...]
    schemes: frozenset[str]
    callables: frozenset[str]
    commands: Mapping[str, tuple[str, ...]]
    command_env: Mapping[str, str]
    timeout: float
    max_timeout: float
    max_body_bytes: int
    max_reply_bytes: int
    max_redirects: int
    max_at_once: int
    max_threads: int
    max_processes: int
    max_waiting: int

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> OffloadSettings:
        """The setting without faults, with its defaults."""
        said = {**DEFAULTS, **given}
        return cls(
            **{name.lower(): said[name] for name in said if name not in _READ},
            **{name.lower(): read(said[name]) for name, read in _READ.items()},
        )


def name_of(setting: str) -> str:
    """As an error names it."""
    return f"DELAYSERVER['OFFLOAD']['{setting}']"


_READ: dict[str, Callable[[Any], Any]] = {
    "HOSTS": lambda entries: tuple(map(HostRule.parse, entries)),
    "PRIVATE_HOSTS": lambda entries: tuple(map(HostRule.parse, entries)),
    "SCHEMES": frozenset,
    "CALLABLES": frozenset,
    "COMMANDS": lambda commands: {name: tuple(words) for name, words in commands.items()},
    "COMMAND_ENV": lambda given: {**COMMAND_ENV, **given},
}

# -- what is wrong -------------------------------------------------------------------------------------------------

Wrong = tuple[str, str, str]  # a sentence, the cure, the id of the check


def wrongs(given: object) -> Iterator[Wrong]:
    """Everything wrong with the setting by itself."""
    if not isinstance(given, Mapping):
        yield f"expected DELAYSERVER['OFFLOAD'] to be a dict, got {type(given).__name__}", _CURE, WRONG
        return
    for name in given:
        if name in DEFAULTS:
            yield from _CHECKS[name](name, given[name])
        else:
            hint = f"Known names: {', '.join(sorted(DEFAULTS))}."
            yield f"DELAYSERVER['OFFLOAD'] has an unknown name {name!r}", hint, UNKNOWN
    times = [given.get(name, DEFAULTS[name]) for name in ("TIMEOUT", "MAX_TIMEOUT")]
    if all(map(_is_seconds, times)) and times[0] > times[1]:
        sentence = (
            f"expected {name_of('TIMEOUT')} to be at most {name_of('MAX_TIMEOUT')}, got {times[0]} over {times[1]}"
        )
        yield sentence, "Raise MAX_TIMEOUT, or lower TIMEOUT.", WRONG


_CURE = "Correct it, or leave it out for the default."


def _expect(fits: Callable[[Any], bool], expected: str) -> Callable[[str, Any], Iterator[Wrong]]:
    """A check of one whole value."""

    def check(name: str, value: Any) -> Iterator[Wrong]:
        if not fits(value):
            yield f"expected {name_of(name)} to be {expected}, got {shown(value)}", _CURE, WRONG

    return check


def _is_list(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


def _is_number(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0


def _is_schemes(value: Any) -> bool:
    return _is_list(value) and bool(value) and all(scheme in ("http", "https") for scheme in value)


def _is_variables(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _VARIABLE.fullmatch(name) and isinstance(text, str) and "\0" not in text
        for name, text in value.items()
    )


def _check_channel(name: str, value: Any) -> Iterator[Wrong]:
    try:
        Target("channel", value)
    except InvalidMessage as error:
        yield f"{name_of(name)}: {error}", _CURE, WRONG


def _check_hosts(name: str, value: Any) -> Iterator[Wrong]:
    if not _is_list(value):
        yield f"expected {name_of(name)} to be a list of hosts, got {shown(value)}", _CURE, WRONG
        return
    for number, entry in enumerate(value):
        try:
            HostRule.parse(entry)
        except ValueError as error:
            hint = 'Write "api.example.com", "*.example.com", "localhost:8000" or "[::1]:8000".'
            yield f"{name_of(name)}[{number}] cannot be read: {error}", hint, UNREADABLE


def _check_callables(name: str, value: Any) -> Iterator[Wrong]:
    if not _is_list(value):
        yield f"expected {name_of(name)} to be a list of dotted paths, got {shown(value)}", _CURE, WRONG
        return
    for number, path in enumerate(value):
        if not isinstance(path, str) or not _DOTTED.fullmatch(path):
            sentence = f"expected {name_of(name)}[{number}] to be the dotted path of a function, got {shown(path)}"
            yield sentence, 'Write each out, as "app.tasks.fetch".', UNREADABLE


def _check_commands(name: str, value: Any) -> Iterator[Wrong]:
    if not isinstance(value, Mapping):
        yield f"expected {name_of(name)} to be a dict of commands by name, got {shown(value)}", _CURE, WRONG
        return
    for key, words in value.items():
        if not isinstance(key, str) or not _is_argv(words):
            sentence = f"expected {name_of(name)}[{key!r}] to be a list of words that begins with a full path"
            yield f"{sentence}, got {shown(words)}", 'As "thumbnail": ["/usr/bin/convert", "-strip"].', UNREADABLE


def _is_argv(words: Any) -> bool:
    return (
        isinstance(words, list | tuple)
        and len(words) > 0
        and all(isinstance(word, str) and "\0" not in word for word in words)
        and words[0].startswith("/")
    )


_NUMBER = _expect(_is_number, "a whole number, 1 or more")
_SECONDS = _expect(_is_seconds, "a number of seconds over 0")
_CHECKS: dict[str, Callable[[str, Any], Iterator[Wrong]]] = {
    **dict.fromkeys((name for name in DEFAULTS if name.startswith("MAX_")), _NUMBER),
    "MAX_REDIRECTS": _expect(lambda value: _is_number(value, 0), "a whole number, 0 or more"),
    "TIMEOUT": _SECONDS,
    "MAX_TIMEOUT": _SECONDS,
    "CHANNEL": _check_channel,
    "HOSTS": _check_hosts,
    "PRIVATE_HOSTS": _check_hosts,
    "SCHEMES": _expect(_is_schemes, "a list of https and http, or one of them"),
    "CALLABLES": _check_callables,
    "COMMANDS": _check_commands,
    "COMMAND_ENV": _expect(_is_variables, "a dict of str by the names of variables"),
}
