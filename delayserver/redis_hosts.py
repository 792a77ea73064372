"""One entry of a channel layer's ``hosts``: where it leads, and the connections that lead there.

redis-py 8 gives every connection a 5 s `socket_timeout`; channels_redis wants none on its own, and a project says so
in ``hosts``. Neither suits us: a command of ours is quick or has failed, and a listening connection may be quiet for
ever but is pinged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from .errors import ConfigurationError

COMMAND_SECONDS = 5.0
MAX_CONNECTIONS = 50  # of one client; whoever finds them all in use waits for one

Host = Mapping[str, Any]


def decode_host(entry: object) -> Host:
    """One entry of a layer's ``hosts``, in any of the forms channels_redis knows, as keyword arguments.

    `ConfigurationError` where redis-py cannot read it.
    """
    try:
        host = _as_keywords(entry)
        _insist_on_readable(host)
    except Exception as error:  # noqa: BLE001  redis-py raises anything
        raise ConfigurationError(
            "expected a URL (redis://HOST:PORT/DB), a pair (host, port), or a dict with one of them for redis-py,"
            f" got a {type(entry).__name__} that is none ({type(error).__name__})"
        ) from None  # its words may have a part of the password
    return host


def _as_keywords(entry: object) -> Host:
    if isinstance(entry, Mapping):
        return entry
    if isinstance(entry, (tuple, list)):
        return {"host": entry[0], "port": entry[1]}
    return {"address": entry}


def _insist_on_readable(host: Host) -> None:
    """Raise anything where it cannot be used, as far as that can be told without a connection."""
    if not isinstance(host.get("address", ""), str):
        raise TypeError("expected an address to be a URL")
    int(host.get("port", 6379))
    place_of(host)
    describe(host)
    new_pool(host, redis)


def describe(host: Host) -> str:
    """The host for people: no user, no password."""
    if "address" in host:
        url = urlsplit(str(host["address"]))
        place = f"{url.hostname or ''}{f':{url.port}' if url.port else ''}"
        return f"{url.scheme}://{place}{url.path}"
    if "master_name" in host:
        return f"sentinel://{host['master_name']}"
    return f"redis://{host.get('host', 'localhost')}:{host.get('port', 6379)}/{host.get('db', 0)}"


def place_of(host: Host) -> str:
    """The server and database this leads to: equal for two entries that say the same in other words."""
    if "master_name" in host:
        return f"{describe(host)} {host.get('sentinels')}/{host.get('db', 0)}"
    if "address" not in host:
        return f"redis://{host.get('host', 'localhost')}:{host.get('port', 6379)}/{host.get('db', 0)}"
    url = urlsplit(str(host["address"]))
    if url.scheme == "unix":
        return str(host["address"])
    database = parse_qs(url.query).get("db", [url.path.strip("/") or host.get("db", 0)])[0]
    return f"redis://{url.hostname or 'localhost'}:{url.port or 6379}/{database}"


def new_pool(host: Host, kit: Any, **options: Any) -> Any:
    """A connection pool of `kit` (redis or redis.asyncio) for a host, read as channels_redis reads it.

    Its connections try nothing again: an answer can be lost after the act was done, so to repeat it blindly could do
    it twice. Loops try again by themselves, and callers are told.
    """
    kwargs = {
        **host,
        "socket_connect_timeout": COMMAND_SECONDS,
        "socket_timeout": COMMAND_SECONDS,
        "socket_keepalive": True,
        "protocol": 2,
        "retry": (AsyncRetry if kit is redis.asyncio else Retry)(NoBackoff(), 0),
        "max_connections": MAX_CONNECTIONS,
        **options,
    }
    address = kwargs.pop("address", None)
    if address is not None:
        return kit.BlockingConnectionPool.from_url(address, timeout=COMMAND_SECONDS, **kwargs)
    master = kwargs.pop("master_name", None)
    if master is not None:
        sentinel = kit.sentinel.Sentinel(kwargs.pop("sentinels"), sentinel_kwargs=kwargs.pop("sentinel_kwargs", None))
        return kit.sentinel.SentinelConnectionPool(master, sentinel, **kwargs)
    return kit.BlockingConnectionPool(timeout=COMMAND_SECONDS, **kwargs)


async def close_pool(pool: Any) -> None:
    """With the clients of the Sentinels that it asks."""
    await pool.aclose()
    manager = getattr(pool, "sentinel_manager", None)
    for sentinel in manager.sentinels if manager else ():
        await sentinel.aclose()
