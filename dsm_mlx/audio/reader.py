"""A binary stream with a look ahead, so that what it holds can be told before it is read."""

from __future__ import annotations

import io
import select
from typing import Any

from dsm_mlx.errors import AudioError
from dsm_mlx.messages import named, reason, shown

READ_BYTES = 1 << 16
KEPT_BYTES = 1 << 16


class UnreadError(AudioError):
    """The stream itself failed: no other decoder will get more out of it."""


class Reader:
    """The bytes of `stream`, an object with `read`, from where it stands.

    What was read can be taken back with `rewind`, until more than `KEPT_BYTES` were read or
    `settle` was called. Raises AudioError, beginning with `name`, where reading fails, and
    TypeError for a stream of text. The stream is the caller's: it is never closed.
    """

    def __init__(self, stream: Any, name: str) -> None:
        if isinstance(stream, io.TextIOBase):
            raise TypeError(f"{named(name)} is open as text (expected a binary stream, mode 'rb')")
        self.name = named(name)
        self.stream = stream
        # read1 gives what is there; read would wait until the block is full
        self._read_some = getattr(stream, "read1", stream.read)
        self._ahead = bytearray()
        self._kept: bytearray | None = bytearray()
        self.seekable = _seekable(stream)

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or fewer where the stream ends; they are still to be read."""
        while len(self._ahead) < size and (more := self._some(READ_BYTES)):
            self._ahead += more
        return bytes(self._ahead[:size])

    def read(self, size: int) -> bytes:
        """What has arrived, at most `size` bytes; waits for the first, empty at the end."""
        if self._ahead:
            data = bytes(self._ahead[:size])
            del self._ahead[:size]
        else:
            data = self._some(size)
        if self._kept is not None:
            self._kept += data
            if len(self._kept) > KEPT_BYTES:
                self._kept = None
        return data

    def ready(self, seconds: float) -> bool:
        """Wait so long for bytes; True as soon as `read` will not wait, or if that is not known.

        It is known of pipes and files of the system, from which nothing is taken but by `read`.
        """
        raw = getattr(self.stream, "raw", self.stream)
        if self._ahead or not isinstance(raw, io.FileIO):
            return True
        try:
            return bool(select.select([raw.fileno()], [], [], seconds)[0])
        except (OSError, ValueError):  # more files are open than this can handle
            return True

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes, or fewer where the stream ends."""
        parts = []
        while size and (data := self.read(min(size, READ_BYTES))):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        """Leave out `size` bytes; without reading them where the stream can seek."""
        while size and (self._ahead or not self.seekable or size <= KEPT_BYTES):
            data = self.read(min(size, READ_BYTES))
            if not data:
                return
            size -= len(data)
        if size:
            self._kept = None
            self.stream.seek(size, io.SEEK_CUR)

    def rewind(self) -> bool:
        """Take back all that was read; False where that is no longer kept."""
        if self._kept is None:
            return False
        self._ahead[:0] = self._kept
        self._kept.clear()
        return True

    def settle(self) -> None:
        """What comes now is read once: nothing is kept any more."""
        self._kept = None

    def hand_over(self) -> Any:
        """The stream itself, at the next byte to be read; None where it cannot seek there."""
        if not self.seekable:
            return None
        self.stream.seek(-len(self._ahead), io.SEEK_CUR)
        self._ahead.clear()
        self._kept = None
        return self.stream

    def size(self) -> int | None:
        """How many bytes are still to come, where the stream knows."""
        if not self.seekable:
            return None
        here = self.stream.tell()
        end = self.stream.seek(0, io.SEEK_END)
        self.stream.seek(here)
        return max(end - here, 0) + len(self._ahead)

    def _some(self, size: int) -> bytes:
        try:
            data = self._read_some(size)
        except (OSError, ValueError, EOFError) as error:  # closed; a gzip file that was cut
            raise UnreadError(f"{self.name}: cannot be read: {reason(error)}") from None
        if not isinstance(data, (bytes, bytearray, memoryview)):
            kind = "nothing, as one does that does not wait" if data is None else shown(data)
            raise TypeError(f"{self.name}: read() gave {kind} (expected bytes)")
        return bytes(data)


def _seekable(stream: Any) -> bool:
    try:
        return bool(stream.seekable()) and isinstance(stream.tell(), int)
    except (AttributeError, OSError, ValueError):
        return False
