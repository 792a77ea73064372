"""What ``manage.py runtasks`` is asked for, and how it refuses what cannot be."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from .workshop import Workshop

PUBSUB = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}
SEND = """
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
async_to_sync(get_channel_layer().send)("work", {"type": "probe", "n": 0})
"""


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "the following arguments are required: CHANNEL"),
        (["a b"], "'a b'"),
        (["x!y"], "expected a worker channel, got 'x!y', which is one process's own"),
        ([":3"], "''"),
        (["x" * 101], "a name of 1 to 99 ASCII letters"),
        (["x:0"], "expected a whole number from 1 to 10000, got '0'"),
        (["x:abc"], "expected a whole number from 1 to 10000, got 'abc'"),
        (["x:"], "expected a whole number from 1 to 10000, got ''"),
        (["x:10001"], "got '10001'"),
        (["x:٣"], "got '٣'"),
        (["x:1:2"], "got '1:2'"),
        (["x", "--concurrency", "0"], "--concurrency: expected a whole number from 1 to 10000, got '0'"),
        (["x", "--threads", "1001"], "--threads: expected a whole number from 1 to 1000, got '1001'"),
        (["x", "--processes", "-1"], "--processes: expected"),
        (["x", "--processes", "257"], "--processes: expected a whole number from 1 to 256, got '257'"),
        (["x", "--grace", "-1"], "--grace: expected seconds, from 0 to 86400, got '-1'"),
        (["x", "--grace", "nan"], "--grace: expected seconds, from 0 to 86400, got 'nan'"),
        (["x", "--grace", "soon"], "--grace: expected seconds, from 0 to 86400, got 'soon'"),
        (["x", "y", "x:3"], "expected each channel once, got x more than once"),
        (["x", "--at-most-once", "y"], "--at-most-once names channels that this worker does not take from: y"),
        (["x", "asgi.delay"], "asgi.delay is read by the delay server: manage.py rundelay"),
        (["x", "--layer", "nowhere"], "There is no channel layer 'nowhere'"),
        (["x", "--layer", "memory"], "The in-memory channel layer lives in one process, so a worker in another"),
        (["x", "--layer", "pubsub", "--processes", "2"], "2 processes would each run it.*--processes 1"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(settings: Settings, args: list[str], sentence: str) -> None:
    settings.CHANNEL_LAYERS = {**settings.CHANNEL_LAYERS, "pubsub": PUBSUB}
    with pytest.raises(CommandError, match=sentence):
        call_command("runtasks", *args)


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["work", "work"], 2, "^CommandError: expected each channel once, got work more than once$"),
        (["work:0"], 2, r"error: argument CHANNEL\[:N\]: expected a whole number from 1 to 10000, got '0'$"),
        (["work", "--layer", "memory"], 1, "^CommandError: The in-memory channel layer lives in one process"),
        (["--help"], 0, "^Run a worker: take messages from the channels named"),
    ],
)
def test_a_process_ends_with_the_sentence_and_its_code(
    workshop: Workshop, args: list[str], code: int, line: str
) -> None:
    process = workshop.start("runtasks", *args)
    assert process.wait() == code
    process.wait_for_line(line)
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (None, "expected ASGI_APPLICATION to be a dotted path, got none"),
        ("nowhere.application", r"ASGI_APPLICATION 'nowhere.application' cannot be imported \(ModuleNotFoundError"),
    ],
)
def test_without_an_application_there_is_nothing_to_run(settings: Settings, path: str | None, sentence: str) -> None:
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}
    settings.CHANNEL_LAYERS, settings.DELAYSERVER = {"default": layer}, {}
    settings.ASGI_APPLICATION = path
    with pytest.raises(CommandError, match=sentence):
        call_command("runtasks", "x")


def test_a_channel_that_no_consumer_reads_is_told(workshop: Workshop) -> None:
    worker = workshop.worker("work", "nobody")
    worker.wait_for_line("^no consumer in the routing reads nobody: each of its messages will be a dead letter$")


def test_it_says_what_it_takes(workshop: Workshop) -> None:
    worker = workshop.worker("work", "slow:3", "--concurrency", "7", "--threads", "2")
    worker.wait_for_line("^worker ready: channels work, slow .3 at once., layer default, 7 at once, 2 threads$")


def test_it_works_on_another_layer(workshop: Workshop) -> None:
    """What lies on one is not on the other."""
    redis = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [workshop.site.url]}}
    layers = {"default": redis, "other": redis | {"CONFIG": {"hosts": [workshop.site.url], "prefix": "other"}}}
    workshop.env["DELAYSERVER_TEST_LAYERS"] = json.dumps(layers)
    worker = workshop.worker("work", "--layer", "other")
    worker.wait_for_line("^worker ready: channels work, layer other, ")
    sender = workshop.start(
        "shell", "--no-imports", "-c", SEND.replace("get_channel_layer()", 'get_channel_layer("other")')
    )
    assert sender.wait() == 0
    workshop.wait_for("ended", [0])


def test_one_process_of_the_pubsub_layer_works(workshop: Workshop) -> None:
    layers = {"default": {**PUBSUB, "CONFIG": {"hosts": [workshop.site.url]}}}
    workshop.env["DELAYSERVER_TEST_LAYERS"] = json.dumps(layers)
    worker = workshop.worker("work")
    sender = workshop.start("shell", "--no-imports", "-c", SEND)
    assert sender.wait() == 0
    workshop.wait_for("ended", [0])
    worker.terminate()
    assert worker.wait() == 0
