"""The body of an answer, as it comes in: decompressed, and never more of it in memory than is allowed."""

from __future__ import annotations

import zlib

from ..errors import OffloadFailed
from ..offload_settings import name_of

ACCEPTED = "gzip, deflate"
MORE_BYTES = 65_536  # by which what is compressed may be longer than what comes out
_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class Body:
    """Takes a body piece by piece; `encoding` is its ``Content-Encoding``. `max_bytes` counts what comes out.

    An encoding that we did not ask for is left as it is: `decodes` tells.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding.strip().lower()
        self._max_bytes = max_bytes
        self._read = bytearray()
        self._came, self._left = False, max_bytes + MORE_BYTES
        self._decoder = self._new_decoder()

    @property
    def decodes(self) -> bool:
        return self._decoder is not None

    def feed(self, data: bytes) -> None:
        """`OffloadFailed` where it is too long, or is not what its encoding says."""
        self._left -= len(data)
        if self._left < 0:  # parts that come to nothing, without end
            raise self._too_long()
        if self._decoder is None:
            self._add(data)
            return
        try:
            self._decode(data)
        except zlib.error:
            raise OffloadFailed(f"the body of the answer is no {self._encoding}") from None

    def finish(self) -> bytes:
        """The whole; `OffloadFailed` where the end is missing."""
        if self._decoder is not None and self._came and not self._decoder.eof:
            raise OffloadFailed(f"the body of the answer is cut off within its {self._encoding}")
        return bytes(self._read)

    def _new_decoder(self) -> zlib._Decompress | None:
        window = _WINDOWS.get(self._encoding)
        return None if window is None else zlib.decompressobj(window)

    def _decode(self, data: bytes) -> None:
        if self._encoding == "deflate" and data and not self._came and data[0] & 0x0F != 8:
            self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)  # without the zlib head, as some servers have it
        while data:
            self._came = True
            if self._decoder is None or self._decoder.eof:
                self._decoder = self._new_decoder()  # gzip may go on with another member
            assert self._decoder is not None
            self._add(self._decoder.decompress(data, self._max_bytes - len(self._read) + 1))
            data = self._decoder.unconsumed_tail or self._decoder.unused_data

    def _add(self, data: bytes) -> None:
        self._read += data
        if len(self._read) > self._max_bytes:
            raise self._too_long()

    def _too_long(self) -> OffloadFailed:
        return OffloadFailed(f"the body of the answer is over {name_of('MAX_REPLY_BYTES')} ({self._max_bytes})")
