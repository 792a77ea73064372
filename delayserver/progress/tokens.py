"""Tokens: signed, and good for a while. Who has one may see one piece of work; one for a user, that user alone."""

from __future__ import annotations

from typing import NamedTuple

from django.core import signing

from ..conf import get_progress_settings

SALT = "delayserver.progress"
MAX_TOKEN_LENGTH = 400


class Token(NamedTuple):
    """Which piece of work, and whose primary key as text; empty where anybody may hold it."""

    id: str
    user: str = ""

    def sign(self) -> str:
        return signing.dumps([self.id, self.user], salt=SALT)

    @classmethod
    def read(cls, text: str) -> Token:
        """The token that it is; `signing.SignatureExpired` for one that was, `signing.BadSignature` for none."""
        if len(text) > MAX_TOKEN_LENGTH:
            raise signing.BadSignature(f"expected at most {MAX_TOKEN_LENGTH} characters, got {len(text)}")
        try:
            id, user = signing.loads(text, salt=SALT, max_age=get_progress_settings().token_age)
        except signing.BadSignature:
            raise
        except Exception as error:  # noqa: BLE001  what is signed may be anything, with an older release
            raise signing.BadSignature(f"expected a token, got {type(error).__name__}") from None
        return cls(str(id), str(user))


def key_of(user: object) -> str:
    """A user's primary key as a token has it; empty for nobody, and for who has not logged in."""
    if user is None or not getattr(user, "is_authenticated", True):
        return ""
    key = getattr(user, "pk", user)
    return "" if key is None else str(key)
