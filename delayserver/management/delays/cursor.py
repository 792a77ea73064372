"""Where the next page of a list begins, as text to paste: ``AT:ID``."""

from __future__ import annotations

import re

from delayserver.stores.shelf import Spot

_CURSOR = re.compile(r"([0-9]{1,19})(\.[0-9]{1,12})?:(.{1,600})")


def written(spot: Spot) -> str:
    at = int(spot.at) if spot.at == int(spot.at) else spot.at
    return f"{at!r}:{spot.id}"


def read(text: str) -> Spot:
    """The spot again; `ValueError` for any other text."""
    found = _CURSOR.fullmatch(text)
    if found is None or not text.isprintable():
        raise ValueError(text)
    whole, fraction, id = found.groups()
    if int(whole) >= 2**63:  # no database holds it
        raise ValueError(text)
    return Spot(float(whole + fraction) if fraction else int(whole), id)
