"""What a server counts, for Prometheus (extra ``metrics``).

The figure to alert on is ``delayserver_oldest_overdue_seconds``: a server that looks alive and hands nothing over
shows there and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .events import counts
from .server import DelayServer

SCRAPE_SECONDS = 5.0


class ServerCollector(Collector):
    """Asks the server's event loop from the HTTP thread, at each scrape."""

    def __init__(self, server: DelayServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop = server, loop

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily("delayserver_events", "What happened, by event", labels=["event"])
        for name, value in sorted(counts.items()):
            events.add_metric([name], value)
        yield events
        health = asyncio.run_coroutine_threadsafe(self._server.health(), self._loop).result(SCRAPE_SECONDS)
        yield GaugeMetricFamily("delayserver_waiting", "Messages that wait or are claimed", value=health.waiting)
        yield GaugeMetricFamily(
            "delayserver_oldest_overdue_seconds", "How long the oldest message is overdue", value=health.overdue
        )
        yield GaugeMetricFamily("delayserver_stores_away", "Stores that do not answer", value=health.away)


def serve(server: DelayServer, port: int) -> None:
    """Answer scrapes on 127.0.0.1:`port` in a thread of their own. `OSError` when the port is taken."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(server, asyncio.get_running_loop()))
    start_http_server(port, addr="127.0.0.1", registry=registry)
