"""What an operator should know about the Redis under a store: that it forgets, throws away, is too old, or is away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..conf import Fault
from ..redis_link import AsyncClusterClient, RedisLink, ResponseError

OLDEST = 6  # the first with the commands and the Lua that the store uses


async def doubts_of(link: RedisLink) -> list[Fault]:
    """What can be known: a managed Redis, or its ACL, may refuse to tell. On a cluster that is of one node."""
    try:
        info = _parse(await _ask(link, "INFO"))
        saves = info.get("aof_enabled") != "0" or await _saves(link)
    except Exception as error:  # noqa: BLE001  a cluster's client has errors of its own
        return [_is_away(link, error)]
    policy, version = info.get("maxmemory_policy", ""), info.get("redis_version", "")
    return [
        *(
            [_evicts(link, policy)] if policy.startswith("allkeys") else []
        ),  # what is ours has no TTL: volatile-* is fine
        *([] if saves else [_forgets(link)]),
        *([_is_old(link, version)] if _major(version) < OLDEST else []),
    ]


async def _saves(link: RedisLink) -> bool:
    """Whether Redis writes snapshots, or does not say."""
    command = ("CONFIG GET",) if isinstance(link.here, AsyncClusterClient) else ("CONFIG", "GET")
    match await _ask(link, *command, "save"):
        case [_, b""] | {"save": ""}:
            return False
    return True


async def _ask(link: RedisLink, *command: str) -> Any:
    """Redis's reply; None where it refuses."""
    try:
        return await link.here.ask(*command)
    except ResponseError:
        return None


def _parse(reply: object) -> dict[str, str]:
    """The fields of INFO, which a cluster's client has parsed already."""
    if isinstance(reply, Mapping):
        return {str(name): str(value) for name, value in reply.items()}
    if not isinstance(reply, bytes):
        return {}
    pairs = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else OLDEST


def _evicts(link: RedisLink, policy: str) -> Fault:
    return Fault(
        f"{link} has the maxmemory-policy {policy}: when its memory is full, it throws away messages that wait.",
        "redis-cli config set maxmemory-policy noeviction, and the same in its configuration.",
        "delayserver.W007",
    )


def _forgets(link: RedisLink) -> Fault:
    return Fault(
        f"{link} keeps nothing on disk (neither appendonly nor save): when it restarts, it has forgotten what waits.",
        "redis-cli config set appendonly yes, and the same in its configuration.",
        "delayserver.W008",
    )


def _is_old(link: RedisLink, version: str) -> Fault:
    return Fault(
        f"{link} is Redis {version}, and the store needs {OLDEST} or newer.",
        "Upgrade it, or use the database store.",
        "delayserver.W009",
    )


def _is_away(link: RedisLink, error: Exception) -> Fault:
    first_line = str(error).partition("\n")[0]
    return Fault(
        f"{link} does not answer ({type(error).__name__}: {first_line}).",
        "Start it, or correct its address and password: until then send_later raises StoreUnavailable.",
        "delayserver.W010",
    )
