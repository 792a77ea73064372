"""Views, sync and async, with and without a transaction. Each order leaves a row and a message of its number."""

from __future__ import annotations

import asyncio
import os

from asgiref.sync import async_to_sync
from django.db import transaction
from django.http import HttpRequest, JsonResponse

from delayserver import Receipt, Retry, acancel, asend_later, get, send_later

from . import opened
from .models import Order

PATIENT = Retry(max_attempts=1)  # so that the message carries its id


class OutOfStock(Exception):
    pass


@transaction.atomic
def order(request: HttpRequest) -> JsonResponse:
    number = int(request.GET["n"])
    Order.objects.create(number=number)
    receipt = send_later("sink", {"type": "probe", "n": number}, delay=0, retry=PATIENT)
    if "fail" in request.GET:
        raise OutOfStock
    return answer(receipt)


@transaction.atomic
def order_through_async(request: HttpRequest) -> JsonResponse:
    number = int(request.GET["n"])
    Order.objects.create(number=number)
    receipt = async_to_sync(asend_later)("sink", {"type": "probe", "n": number}, delay=0, retry=PATIENT)
    if "fail" in request.GET:
        raise OutOfStock
    return answer(receipt)


async def checkout(request: HttpRequest) -> JsonResponse:
    number = int(request.GET["n"])
    await Order.objects.acreate(number=number)
    receipt = await asend_later("sink", {"type": "probe", "n": number}, delay=0, retry=PATIENT)
    return answer(receipt, status=500 if "fail" in request.GET else 200)


async def checkout_at_once(request: HttpRequest) -> JsonResponse:
    """In tasks of their own, one of which thinks better of it."""
    number = int(request.GET["n"])
    await Order.objects.acreate(number=number)
    contents = [{"type": "probe", "n": number}, {"type": "probe", "n": -1}]
    receipt, regretted = await asyncio.gather(
        *(asend_later("sink", content, delay=0, retry=PATIENT) for content in contents)
    )
    await asyncio.create_task(acancel(regretted.id))
    return answer(receipt, status=500 if "fail" in request.GET else 200)


def remind(request: HttpRequest) -> JsonResponse:
    """Five messages from one sync view, and what the process has opened so far."""
    ids = [send_later("sink", {"type": "probe", "n": n}, delay=3_600_000).id for n in range(5)]
    found = [get(id) is not None for id in ids]
    return JsonResponse({"ids": ids, "found": found, "pid": os.getpid(), "opened": opened.so_far()})


async def remind_many(request: HttpRequest) -> JsonResponse:
    number = int(request.GET["n"])
    contents = [{"type": "probe", "n": n} for n in range(number)]
    receipts = await asyncio.gather(*(asend_later("sink", content, delay=3_600_000) for content in contents))
    return JsonResponse({"ids": [receipt.id for receipt in receipts]})


def answer(receipt: Receipt, status: int = 200) -> JsonResponse:
    return JsonResponse(receipt._asdict(), status=status)
