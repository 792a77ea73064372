"""After a test, what is left in Redis either ends by itself or stands on a list."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import redis

STORE = "[{]delayserver:*}:"
BESIDE = ("keys", "moved", "attempts", "backlogs")
LASTING = [f"{STORE}{name}" for name in ("waiting", *BESIDE, "dead", "letters", "schedules")]


def leaked_keys(client: redis.Redis, allowed: Sequence[str] = ()) -> list[str]:
    """Each key that would stay for ever: no TTL, and on no list. `allowed` are patterns beside the store's own."""
    names = sorted(name.decode(errors="backslashreplace") for name in client.scan_iter(count=1_000))
    patterns = [*LASTING, *allowed]
    lasting = [name for name in names if client.ttl(name) == -1]
    leaked = [name for name in lasting if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    return leaked + [name for name in lasting if _is_debris(name, names)]


def _is_debris(name: str, names: Sequence[str]) -> bool:
    """Beside the messages lie their keys, moves and attempts: where no message is, nothing may lie beside."""
    place, _, kind = name.rpartition(":")
    is_beside = place.startswith("{delayserver:") and kind in BESIDE
    return is_beside and f"{place}:waiting" not in names
