"""``DELAYSERVER["OFFLOAD"]``: closed by default, each wrong value told with its cure, and the docs say the same."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from delayserver.conf import get_offload_settings, settings_faults
from delayserver.errors import ConfigurationError
from delayserver.offload_hosts import HostRule
from delayserver.offload_settings import DEFAULTS, OffloadSettings

from ..docs.blocks import ROOT, table_rows


def test_everything_is_closed_by_default() -> None:
    defaults = OffloadSettings.of({})
    assert not (defaults.hosts or defaults.private_hosts or defaults.callables or defaults.commands)


def test_the_settings_page_has_every_name_with_its_default() -> None:
    rows = table_rows(ROOT / "docs/reference/settings.md", "## Offload")
    assert {row[0].strip("`"): eval(row[1].strip("`")) for row in rows} == DEFAULTS


def test_what_is_said_is_read(settings: Settings) -> None:
    settings.DELAYSERVER = {
        "OFFLOAD": {
            "CHANNEL": "slow",
            "HOSTS": ["API.example.com", "*.Example.org:8443"],
            "PRIVATE_HOSTS": ["[::0001]:80"],
            "CALLABLES": ("app.tasks.fetch",),
            "COMMANDS": {"thumbnail": ["/usr/bin/convert", "-strip"]},
            "COMMAND_ENV": {"HOME": "/tmp", "LANG": "C"},
            "TIMEOUT": 2.5,
        }
    }
    assert settings_faults() == []
    given = get_offload_settings()
    assert given.hosts == (HostRule("api.example.com", None, False), HostRule("example.org", 8443, True))
    assert given.private_hosts == (HostRule("::1", 80, False),)
    assert given.commands == {"thumbnail": ("/usr/bin/convert", "-strip")}
    assert (given.channel, given.timeout, given.max_timeout) == ("slow", 2.5, 60)
    assert given.command_env == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C", "HOME": "/tmp"}


FAULTS: list[tuple[Any, str, str, str]] = [
    ([], "E017", "expected DELAYSERVER['OFFLOAD'] to be a dict, got list", "leave it out"),
    ({"HOST": []}, "E016", "DELAYSERVER['OFFLOAD'] has an unknown name 'HOST'", "Known names: CALLABLES, CHANNEL,"),
    ({"CHANNEL": "no name"}, "E017", "['CHANNEL']: expected channel to be a name", "Correct it"),
    ({"HOSTS": "api.example.com"}, "E017", "['HOSTS'] to be a list of hosts, got 'api.example.com'", "Correct it"),
    ({"HOSTS": ["*"]}, "E018", "['HOSTS'][0] cannot be read: expected the host to be a name in ASCII", "Write "),
    ({"HOSTS": ["*.com"]}, "E018", "expected a domain of two parts or more after the asterisk", "Write "),
    ({"HOSTS": ["*.0.0.1"]}, "E018", "['HOSTS'][0] cannot be read", "Write "),
    ({"HOSTS": ["a", "http://a.example.com"]}, "E018", "['HOSTS'][1] cannot be read: expected host or", "Write "),
    ({"HOSTS": ["a.example.com/path"]}, "E018", "['HOSTS'][0] cannot be read", "Write "),
    ({"PRIVATE_HOSTS": ["127.1"]}, "E018", "['PRIVATE_HOSTS'][0] cannot be read", "Write "),
    ({"PRIVATE_HOSTS": [b"a"]}, "E018", "['PRIVATE_HOSTS'][0] cannot be read: expected a str", "Write "),
    ({"SCHEMES": ["ftp"]}, "E017", "['SCHEMES'] to be a list of https and http", "Correct it"),
    ({"SCHEMES": []}, "E017", "['SCHEMES']", "Correct it"),
    ({"SCHEMES": [["http"]]}, "E017", "['SCHEMES']", "Correct it"),
    ({"CALLABLES": "app.tasks"}, "E017", "['CALLABLES'] to be a list of dotted paths", "Correct it"),
    (
        {"CALLABLES": ["fetch"]},
        "E018",
        "['CALLABLES'][0] to be the dotted path of a function, got 'fetch'",
        "Write each",
    ),
    ({"CALLABLES": ["app.tasks.*"]}, "E018", "['CALLABLES'][0]", "Write each out"),
    ({"COMMANDS": ["ls"]}, "E017", "['COMMANDS'] to be a dict of commands by name", "Correct it"),
    ({"COMMANDS": {"ls": "ls -l"}}, "E018", "['COMMANDS']['ls'] to be a list of words", "/usr/bin/convert"),
    ({"COMMANDS": {"ls": ["ls"]}}, "E018", "that begins with a full path", "/usr/bin/convert"),
    ({"COMMANDS": {"ls": []}}, "E018", "['COMMANDS']['ls']", "/usr/bin/convert"),
    ({"COMMANDS": {"ls": ["/bin/ls", 5]}}, "E018", "['COMMANDS']['ls']", "/usr/bin/convert"),
    ({"COMMAND_ENV": {"A=B": "c"}}, "E017", "['COMMAND_ENV'] to be a dict of str", "Correct it"),
    ({"TIMEOUT": 0}, "E017", "['TIMEOUT'] to be a number of seconds over 0, got 0", "Correct it"),
    ({"TIMEOUT": 61}, "E017", "expected DELAYSERVER['OFFLOAD']['TIMEOUT'] to be at most", "Raise MAX_TIMEOUT"),
    ({"MAX_TIMEOUT": float("inf"), "TIMEOUT": 1}, "E017", "['MAX_TIMEOUT'] to be a number of seconds", "Correct it"),
    ({"MAX_REDIRECTS": -1}, "E017", "['MAX_REDIRECTS'] to be a whole number, 0 or more", "Correct it"),
    *(
        ({name: value}, "E017", f"['{name}'] to be a whole number, 1 or more", "Correct it")
        for name in DEFAULTS
        if name.startswith("MAX_") and name not in ("MAX_TIMEOUT", "MAX_REDIRECTS")
        for value in (0, True, 1.5, "1")
    ),
]


@pytest.mark.parametrize(("given", "id", "sentence", "cure"), FAULTS)
def test_what_is_wrong_is_told_with_its_cure(settings: Settings, given: Any, id: str, sentence: str, cure: str) -> None:
    settings.DELAYSERVER = {"OFFLOAD": given}
    [fault] = settings_faults()
    assert fault.id == f"delayserver.{id}"
    assert sentence in fault.sentence
    assert cure in fault.hint
    with pytest.raises(ConfigurationError):
        get_offload_settings()
