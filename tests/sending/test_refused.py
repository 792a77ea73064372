"""What could never be handed over is refused where the call is made, in a sentence that names the key at fault."""

from __future__ import annotations

import re

from .conftest import Project

FAULTS = {
    "delay": r"expected delay to be whole milliseconds .* got 0\.5 \(did you mean timedelta\(seconds=0\.5\)\?\)",
    "delay negative": r"expected delay to be from 0",
    "delay and eta": "expected one of delay and eta, got neither",
    "eta": "expected eta to be an aware datetime",
    "channel": "expected channel to be a name .* got 'no such name'",
    "group": "expected group to be a name .* got 'a!b'",
    "type": "expected content to have a type",
    "nested": r"content\['at'\]\[0\]\['x'\]",
    "reserved": "__delay__",
    "key": "expected key to be 1 to 200 printable characters",
    "on_conflict": "expected on_conflict .* got 'drop'",
    "expires": "expected expires to be whole milliseconds",
    "retry": "expected retry",
    "size": "MAX_MESSAGE_BYTES",
    "itself": "expected a target other than asgi.delay itself",
    "awaited": r"content\['at'\]\['x'\]",
    "many": r"content\['at'\]",
    "cancel": "expected an id or a key, .* got neither",
    "reschedule": "expected delay to be whole milliseconds",
}


def test_each_wrong_call_is_refused_and_stores_nothing(project: Project) -> None:
    told = project.ask("send_what_cannot_be")
    assert told.keys() == FAULTS.keys()
    unclear = {fault: said for fault, said in told.items() if not re.search(FAULTS[fault], said or "")}
    assert unclear == {}
    assert project.left() == 0
