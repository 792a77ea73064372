"""Which consumer works on which channel."""

from __future__ import annotations

from .consumers import Chain, SyncChain

channels = {"chain": Chain.as_asgi(), "sync-chain": SyncChain.as_asgi()}
