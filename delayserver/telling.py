"""An error in words for a log line, or for a person who looks at a dead letter: short, on one line, and no secrets."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path
from types import FrameType, TracebackType

MAX_CHARACTERS = 300
HIDDEN = "***"
# Whoever words it may do so at length: from each word begin once, and never go back over its end.
# The password in a URL; what follows a word that says it is secret; a bearer's token.
_SECRETS = re.compile(
    r"(?P<url>://[^\s/:@]*:)[^\s/@]+(?=@)"
    r"|(?P<word>(?<![\w-])[\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key|credential|signature|authorization)[\w-]*+[\"']?\s*[=:]\s*"
    r"(?:bearer\s+|basic\s+)?)(?P<quote>[\"']?)[^\s\"',;&)}\]]+"
    r"|(?P<bearer>\bbearer\s+)[\w.~+/-]+=*",
    re.IGNORECASE,
)
_LIBRARIES = tuple(str(Path(path)) for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")})


def told(error: BaseException | None) -> str:
    """Its class, and the first line of its message."""
    if error is None:
        return ""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  any class may be raised
        message = "(it has no words)"
    first_line = message.partition("\n")[0][: 4 * MAX_CHARACTERS]
    hidden = _SECRETS.sub(_hide, first_line)[:MAX_CHARACTERS]
    return f"{type(error).__name__}: {hidden.encode('unicode_escape').decode()}".removesuffix(": ")


def one_line(text: str) -> str:
    """Text with what is not printable escaped, so that any log and any store can hold it."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(one: str) -> str:
    return one if one.isprintable() else one.encode("unicode_escape").decode()


def _hide(match: re.Match[str]) -> str:
    kept = match["url"] or match["bearer"] or f"{match['word']}{match['quote'] or ''}"
    return kept + HIDDEN


def where(error: BaseException) -> str:
    """In which function it was raised, as far as that is the project's own: ``shop.consumers.Report.build, line 7``.

    Empty where it was raised nowhere.
    """
    own = last = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        last = trace
        if _is_own(trace.tb_frame):
            own = trace
        trace = trace.tb_next
    found = own or last
    return "" if found is None else place_of(found.tb_frame, found.tb_lineno)


def place_of(frame: FrameType, line: int) -> str:
    """A place in code, without the paths of the machine."""
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}, line {line}"


def innermost_own(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the project's own code; the innermost of all where there is none."""
    own = frame
    while own is not None and not _is_own(own):
        own = own.f_back
    return own or frame


def _is_own(frame: FrameType) -> bool:
    """Whether it is neither a library's nor ours."""
    name = str(frame.f_globals.get("__name__", ""))
    return not frame.f_code.co_filename.startswith((*_LIBRARIES, "<")) and name.partition(".")[0] != "delayserver"
