"""Acks: what becomes of a handler is what becomes of its message.

::

    class Reports(AckingMixin, AsyncConsumer):
        async def report_build(self, message):
            if not await is_ready(message["id"]):
                return Again(delay=timedelta(minutes=1))
            await build(message["id"])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels import consumer
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer

from ..acking import Handled, Settling
from ..conf import get_layer_settings, get_settings
from ..current import CURRENT, Current
from ..handling import VERDICT, fault_of
from ..layers import get_layer
from ..stores import get_stores
from ..tickets import ticket_of
from ..verdicts import Again, Done, Fail, Outcome, Raised, Unfit, Unsaid, verdict_of


class AckingMixin:
    """For an `AsyncConsumer` or a `SyncConsumer`: what becomes of a handler is what becomes of its message.

    It returns: the message is done. It raises: the message comes again as its `retry` says. It returns or raises
    `Again`: it comes again, and no attempt is spent. `Fail`: it is a dead letter at once.

    It works under ``runtasks``, and under Channels' own ``runworker``. There, a message that came without `retry` is in
    nobody's keeping: `Again` puts it into the store, `Fail` makes it a dead letter, and what its handler raises ends
    the worker's present batch, as ever.
    """

    scope: Any
    channel_name: str
    _sync: bool

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        verdict = self.scope.get(VERDICT)
        if verdict is not None:
            verdict.outcome = await self._outcome(message)
        elif self.scope.get("type") == "channel" or ticket_of(message) is not None:
            CURRENT.set(Current(self._channel, message))
            await self._settle(message, await self._outcome(dict(message)))  # which the handler may change
        else:
            await super().dispatch(message)  # type: ignore[misc]  # the consumer's

    async def _outcome(self, message: Mapping[str, Any]) -> Outcome:
        fault = fault_of(message)
        if fault is not None:
            return Unfit(fault)
        try:
            return verdict_of(await self._handle(message))
        except (Again, Fail) as outcome:
            return outcome
        except Unhandled as error:
            return Unfit(str(error))
        except StopConsumer:
            raise
        except Exception as error:  # noqa: BLE001  whatever a handler raises is an outcome
            return Raised(error)

    async def _handle(self, message: Mapping[str, Any]) -> object:
        """What the handler returned, which Channels' own `dispatch` does not tell."""
        try:
            handler = getattr(self, consumer.get_handler_name(message), None)
        except ValueError as error:
            raise Unhandled(str(error)) from None
        if handler is None:
            raise Unhandled(f"no consumer handles it: {type(self).__name__} has no handler for its type")
        if self._sync:
            return await database_sync_to_async(handler)(message)
        await consumer.aclose_old_connections()
        return await handler(message)

    @property
    def _channel(self) -> str:
        return str(self.scope.get("channel") or self.channel_name)

    async def _settle(self, message: Mapping[str, Any], outcome: Outcome) -> None:
        """By ourselves, where no worker of ours does it."""
        if isinstance(outcome, Unsaid) or (isinstance(outcome, Done) and ticket_of(message) is None):
            return
        if isinstance(outcome, Raised) and ticket_of(message) is None:
            raise outcome.error
        await _settling().settle([Handled(self._channel, message, outcome)])
        if self.scope.get("type") != "channel" and isinstance(outcome, Raised):
            raise outcome.error


class Unhandled(Exception):
    """There is no handler."""


def _settling() -> Settling:
    settings = get_settings()
    alias = settings.channel_layer
    home, stores, layer = get_layer_settings(alias).home, get_stores(alias), get_layer(alias)
    patient = not all(store.place in layer.places for store in stores)
    return Settling(stores, layer, settings.max_message_bytes, home, patient=patient)
