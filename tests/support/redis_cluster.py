"""A Redis Cluster of three nodes, each with a third of the slots."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from .servers import HOST, RedisServer, free_port
from .wait import wait_for

SLOTS = 16_384
NODES = 3


class RedisCluster:
    """`nodes` are its servers; any of them will do as its `url`."""

    def __init__(self) -> None:
        self._ending = ExitStack()
        self.nodes: list[RedisServer] = []
        self._ports: list[int] = []
        self._clients: list[Any] = []

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for _ in range(NODES):
                self._ports.append(free_port())
                options = ("--cluster-enabled", "yes", "--cluster-port", str(self._ports[-1]))
                self.nodes.append(stack.enter_context(RedisServer(*options)))
                self._clients.append(stack.enter_context(self.nodes[-1].client()))
            self._join()
            self._ending = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def _join(self) -> None:
        bounds = [SLOTS * n // NODES for n in range(NODES + 1)]
        for position, client in enumerate(self._clients):
            slots = (bounds[position], bounds[position + 1] - 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            for other, port in zip(self.nodes, self._ports, strict=True):
                client.execute_command("CLUSTER", "MEET", HOST, other.port, port)
        wait_for(self._is_whole, 30, "the nodes of the cluster to know each other")

    def _is_whole(self) -> bool:
        def sees_all(client: Any) -> bool:
            info = client.execute_command("CLUSTER INFO")
            return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(NODES))

        return all(map(sees_all, self._clients))

    def all_keys(self) -> list[str]:
        """Every key in it."""
        found: list[str] = []
        for client in self._clients:
            found += [name.decode() for name in client.scan_iter()]
        return found

    def empty(self) -> None:
        for client in self._clients:
            client.flushall()
