"""Read any text file as UTF-8: packed or not, in any encoding, with lines of a limited length."""

from __future__ import annotations

import codecs
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crowdml.files.form import FileError

Progress = Callable[[int, int], None]
"""Called with the amount read and the total amount, in bytes (text files) or rows (Parquet)."""

BLOCK = 1 << 22
"""Bytes that are read at once."""
LINE_LIMIT = BLOCK
"""The greatest length of a line, in bytes.  It bounds the memory that a damaged or hostile file can take."""

_SAMPLE = 1 << 18  # bytes that show the encoding; few, because every look at a header reads them

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, because the mark of UTF-16 is the first half of this mark
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_GZIP = b"\x1f\x8b"
_OTHER_FORMATS = (
    (_GZIP, "gzip data; add .gz to its name"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV"),
    (b"PAR1", "Parquet data; let its name end in .parquet"),
)
# Western European text has few accented letters in a row, and these letters stand in words.  Other 8-bit encodings and
# damaged UTF-8 have runs of high bytes, or bytes that no western word has.
_NO_WESTERN_TEXT = re.compile(
    rb"[\x80-\xff]{3}|[\xc2-\xdf][\x80-\xbf]"
    rb"|[\x81\x8d\x8f\x90\x9d\xad\xd7\xf7\xff]|(?<![A-Za-z])[\x80-\xff]{2}(?![A-Za-z])"
)


_CONTENT = re.compile(rb"\S")


class TextFault(ValueError):
    """The text of a file cannot be read.  The message says what is wrong, but names no file."""


def check_regular(path: Path) -> None:
    """Raise FileError if the path is no regular file.  Reading a pipe, a socket or a device may never end."""
    if not path.exists():
        raise FileError(f"{path}: no such file")
    if path.is_dir():
        raise FileError(f"{path}: is a folder, not a file")
    if not path.is_file():
        raise FileError(f"{path}: is a pipe, a socket or a device; only a regular file can be read")


class TextStream(io.RawIOBase):
    """The bytes of a text file as UTF-8 without a byte order mark, decompressed if the name ends in .gz.

    Args:
        path: the file.
        encoding: the encoding of the file; the default is found from the first bytes, see FileForm.
        progress: called with the bytes read and the size of the file.
        line_limit: the greatest length of a line, in bytes.

    Raises:
        FileError: the path is no regular file, or its content is no text but another known format.
        TextFault: while reading: the packed data is damaged, a line is longer than `line_limit`, the text is not in the
            encoding, or the text holds a NUL byte.
    """

    _file: IO[bytes] | None = None

    def __init__(
        self,
        path: Path,
        encoding: str | None = None,
        progress: Progress | None = None,
        line_limit: int = LINE_LIMIT,
    ) -> None:
        check_regular(path)
        self._file = path.open("rb")
        try:
            packed = path.name.lower().endswith(".gz")
            if packed and self._file.read(2) != _GZIP:
                raise FileError(f"{path}: not gzip data, although the name ends in .gz")
            self._file.seek(0)
            self._stream: Any = pa.CompressedInputStream(self._file, "gzip") if packed else self._file
            self._progress = progress
            self._size = path.stat().st_size
            self._open_line = 0  # bytes since the last line end
            self._line_limit = line_limit
            self._first = self._raw(_SAMPLE)
            self._waiting = b""
            self._ended = False
            self._fault: TextFault | None = None
            for start, what in _OTHER_FORMATS:
                if self._first.startswith(start):
                    raise FileError(f"{path}: the file is {what}")
            self.encoding, self.guessed = (encoding, False) if encoding else _encoding(self._first)
            is_utf8 = codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")
            self._decoder = None if is_utf8 else codecs.getincrementaldecoder(self.encoding)()
            if is_utf8:
                self._first = self._first.removeprefix(codecs.BOM_UTF8)
        except BaseException:
            self._file.close()
            raise

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; return no bytes at the end of the file."""
        while not self._waiting and not self._ended:
            if self._fault is not None:
                raise self._fault
            wanted = size if 0 < size < BLOCK else BLOCK
            # The first block is filled up, because the parsers take a short block for the whole of a long line.
            data = self._first + (self._raw(wanted - len(self._first)) if wanted > len(self._first) else b"")
            self._first, self._ended = b"", not data
            self._waiting = self._checked(self._recoded(data))
        data = self._waiting if size < 0 or len(self._waiting) <= size else self._waiting[:size]
        self._waiting = self._waiting[len(data) :]
        return data

    def readinto(self, buffer: Any) -> int:
        """Read bytes into the buffer; return their number."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        super().close()

    def _raw(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise TextFault(f"the compressed data is damaged or ends early ({one_line(error)})") from error
        if self._progress and self._file:
            self._progress(self._file.tell(), self._size)
        return data

    def _recoded(self, data: bytes) -> bytes:
        """Return the bytes as UTF-8, up to the first fault."""
        if self._decoder is None:
            return data
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            self._fault = TextFault(f"not {self.encoding} text ({error.reason})")
            text = error.object[: error.start].decode(self.encoding, "ignore")
        except UnicodeError as error:
            raise TextFault(f"not {self.encoding} text ({one_line(error)})") from error
        return text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")

    def _checked(self, data: bytes) -> bytes:
        """Return the bytes up to the first fault.  The next read raises the fault, so that its line is known."""
        if b"\0" in data:
            self._fault = TextFault("the text holds a NUL byte: the file is damaged, or has another encoding")
            data = data[: data.index(b"\0")]
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if first < 0 and (last := data.rfind(b"\r")) >= 0:
            first = data.find(b"\r")
        if self._open_line + (len(data) if first < 0 else first) > self._line_limit:
            raise TextFault(f"the line is longer than {self._line_limit:,} bytes, the greatest length that is read")
        self._open_line = self._open_line + len(data) if first < 0 else len(data) - last - 1
        return data


def line_blocks(stream: TextStream) -> Iterator[bytes]:
    """Yield the bytes of a stream in blocks that end at the end of a line."""
    rest = b""
    while data := stream.read(BLOCK):
        end = data.rfind(b"\n") + 1
        if end:
            yield rest + data[:end]
            rest = data[end:]
        else:
            rest += data
    if rest:
        yield rest


def record_blocks(stream: TextStream, delimiter: str) -> Iterator[memoryview]:
    """Yield the bytes of a CSV stream in blocks that end at the end of a record; quoted values can have line ends.

    Raises:
        TextFault: see TextStream; or a quoted value is not closed, or is longer than LINE_LIMIT.
    """
    data = stream.read(BLOCK)
    line_end = b"\r" if b"\n" not in data and b"\r" in data else b"\n"
    records, last_record = _record_patterns(delimiter.encode(), line_end)
    starts = np.isin(np.arange(256), list(delimiter.encode() + line_end + b'"'))
    rest = b""
    while True:
        block = rest + data
        quotes = np.flatnonzero(np.frombuffer(block, np.uint8) == ord('"')) if b'"' in block else np.empty(0, np.int64)
        if _open_and_close(block, quotes, starts):
            end = _last_end(block, quotes, line_end)
            is_open = len(quotes) % 2 == 1
        else:
            found = records.match(block)
            end = found.end() if found else 0
            is_open = not data and not last_record.match(block, end)
        if is_open and not data:
            raise TextFault("a quoted value is not closed")
        if len(block) - end > LINE_LIMIT:
            raise TextFault(f"a quoted value is not closed, or a record is longer than {LINE_LIMIT:,} bytes")
        if not data:
            end = len(block)
        if _CONTENT.search(block, 0, end):
            yield memoryview(block)[:end]
        rest = block[end:]
        if not data:
            return
        data = stream.read(BLOCK)


def _open_and_close(block: bytes, quotes: NDArray[np.int64], starts: NDArray[np.bool_]) -> bool:
    """Return whether quotes surely open and close values in turn: each opening quote is at the start of a value.

    Args:
        block: text that begins with a record.
        quotes: the places of the quotes in the block.
        starts: (256,) the bytes that stand before a value, and the quote, because two quotes in a value are one quote.
    """
    opening = quotes[2::2] if len(quotes) and quotes[0] == 0 else quotes[::2]
    return bool(starts[np.frombuffer(block, np.uint8)[opening - 1]].all())


def _last_end(block: bytes, quotes: NDArray[np.int64], line_end: bytes) -> int:
    """Return the place after the last line end that is outside of the quotes, which open and close in turn."""
    end = len(block)
    while True:
        end = block.rfind(line_end, 0, end)
        n_before = int(np.searchsorted(quotes, end))
        if end < 0 or n_before % 2 == 0:
            return end + 1
        end = int(quotes[n_before - 1])


def _record_patterns(delimiter: bytes, line_end: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return two patterns: for all whole records, and for a last record without a line end."""
    mark = re.escape(delimiter)
    # A quote opens a value only at the start of the value.
    value = rb'(?:"(?:[^"]++|"")*+"|(?!"))[^%s%s]*+' % (mark, line_end)
    record = rb"%s(?:%s%s)*+" % (value, mark, value)
    return re.compile(rb"(?:%s%s)*+" % (record, line_end)), re.compile(rb"%s\Z" % record)


@contextmanager
def text_lines(path: Path, encoding: str | None = None) -> Iterator[IO[str]]:
    """Open a file as text, see TextStream.  Bytes that are not UTF-8 become surrogates."""
    with TextStream(path, encoding) as stream:
        yield io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", errors="surrogateescape", newline="")


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line."""
    return " ".join(str(error).split())


def _encoding(first: bytes) -> tuple[str, bool]:
    """Return the encoding that the first bytes of a file show, and whether it is a guess."""
    for mark, name in _MARKS:
        if first.startswith(mark):
            return name, False
    if len(first) > 1 and (first[0] == 0) != (first[1] == 0):
        return ("utf-16-be" if first[0] == 0 else "utf-16-le"), False
    if first.isascii() or _is_utf8(first) or b"\0" in first or _NO_WESTERN_TEXT.search(first):
        return "utf-8", False
    return "cp1252", True


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) < _SAMPLE)
    except UnicodeDecodeError:
        return False
    return True
