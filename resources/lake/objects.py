"""Objects of an S3 store: opened by the environment's credentials, probed before anybody trusts it, read by DuckDB.

DuckDB asks a file system whether a file exists, how long it is and when it was changed, each time anew. Here objects are
never changed, and their lengths are known from the tables' logs, so that only the bytes themselves are asked for.
"""

import datetime
import functools
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO, IOBase, RawIOBase
from typing import Any

import fsspec
from deltalake.exceptions import DeltaError
from obstore import delete, get_range, head, put
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from resources.lake.storage import StoreError

SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
NOT_CHANGED = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)  # said of every object: none is ever changed
TAIL = 1 << 16  # bytes from the end of an object that are fetched together: the footer is there
WHOLE = 1 << 20  # bytes of an object up to which all of it is
TAILS, WHOLES = 500, 50  # kept in a process, which is right as long as objects never change
RETRIES, PATIENCE_S, CONNECT_S = 5, 60, 10  # of a request
_lengths: dict[str, int] = {}  # address -> bytes, as logs say


@contextmanager
def said_of(address: str) -> Generator[None]:
    """Errors of a store in one line that names it.

    Raises:
        StoreError: in their place.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, DeltaError, OSError) as e:
        raise StoreError(
            f"{address}: {shortened(e)}. Is the bucket there, and do AWS_ENDPOINT_URL, AWS_REGION and the credentials in the"
            " environment fit it (docs/storage.md)?"
        ) from None  # the whole message may quote a request


def shortened(error: Exception) -> str:
    """What an error says, without colours, answers in XML and secrets, in one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).partition("<?xml")[0]
    text = re.split(r"\n\s*\n|Debug source", text)[0]
    for name in SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, f"${{{name}}}")
    return re.sub(r"[\s↳]+", " ", text).strip(" .:")[:400]


def options() -> dict[str, str]:
    """How the tables' logs are reached; credentials and addresses are taken from the environment by whoever reads them."""
    given = {"connect_timeout": f"{CONNECT_S}s", "max_retries": str(RETRIES), "retry_timeout": f"{PATIENCE_S}s"}
    return given | ({"allow_http": "true"} if _plain() else {})


def _plain() -> bool:
    """Whether the store is spoken to without encryption: only where its address says so."""
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


def split(address: str) -> tuple[str, str]:
    """Bucket and path of `s3://bucket/path`."""
    bucket, _, path = address.removeprefix("s3://").partition("/")
    return bucket, path


def bucket_of(address: str) -> S3Store:
    """The bucket of an address."""
    return _opened(os.getpid(), split(address)[0])


@functools.cache
def _opened(_process: int, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        client_options={"allow_http": _plain(), "connect_timeout": f"{CONNECT_S}s"},
        retry_config={"max_retries": RETRIES, "retry_timeout": datetime.timedelta(seconds=PATIENCE_S)},
    )


def probe(address: str) -> None:
    """Ask a store to write an object twice, the second time only if it is not there.

    Raises:
        StoreError: it does, or cannot be written to.
    """
    store, (_, prefix) = bucket_of(address), split(address)
    path = f"{prefix}/_probe/{secrets.token_hex(8)}".lstrip("/")
    with said_of(address):
        put(store, path, b"one", mode="create")
        try:
            put(store, path, b"two", mode="create")
        except (AlreadyExistsError, PreconditionError):
            return
        finally:
            delete(store, path)
    raise StoreError(
        f"{address}: this store ignores If-None-Match: it replaced an object that it was told not to, so that of two runs that"
        " publish at once one could be lost without a word. Use a store with conditional writes (docs/storage.md)"
    )


def remember(address: str, length: int) -> None:
    """The length of an object, as a log says; nobody has to ask the store."""
    _lengths[address] = length


def length(address: str) -> int:
    """Bytes of an object.

    Raises:
        FileNotFoundError: it is not there.
    """
    if address not in _lengths:
        _lengths[address] = head(bucket_of(address), split(address)[1])["size"]
    return _lengths[address]


def part(address: str, start: int, end: int) -> bytes:
    """Bytes of an object: a request, unless the object is small or its end is asked for, and either was asked for before.

    Raises:
        FileNotFoundError: it is gone.
    """
    size = length(address)
    if size <= WHOLE:
        return _all(address, size)[start:end]
    if start >= size - TAIL:
        return _tail(address, size)[start - size + TAIL : end - size + TAIL]
    return _ranged(address, start, end)


@functools.lru_cache(maxsize=WHOLES)
def _all(address: str, size: int) -> bytes:
    return _ranged(address, 0, size)


@functools.lru_cache(maxsize=TAILS)
def _tail(address: str, size: int) -> bytes:
    return _ranged(address, size - TAIL, size)


def forget() -> None:
    """Forget the bytes that were fetched."""
    _all.cache_clear()
    _tail.cache_clear()


def _ranged(address: str, start: int, end: int) -> bytes:
    try:
        with said_of(address):
            return get_range(bucket_of(address), split(address)[1], start=start, end=end).to_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{address} is gone") from None


class ObjectReader(RawIOBase):
    """An object as a file to read."""

    def __init__(self, address: str):
        super().__init__()
        self.address, self.size, self.at = address, length(address), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        size = self.size - self.at if size is None or size < 0 else min(size, self.size - self.at)
        if size <= 0:
            return b""
        found = part(self.address, self.at, self.at + size)
        self.at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


class ObjectFiles(fsspec.AbstractFileSystem):
    """Objects for DuckDB, by their whole addresses; nothing is listed and nothing written."""

    protocol = "s3"
    cachable = False

    def open(
        self, path: str, mode: str = "rb", block_size=None, cache_options=None, compression=None, **_more: Any
    ) -> IOBase:
        if mode != "rb":
            raise PermissionError(f"{path}: DuckDB only reads here")
        return ObjectReader(_whole(path))

    def info(self, path: str, **_more: Any) -> dict[str, Any]:
        return {"name": path, "size": length(_whole(path)), "type": "file", "mtime": NOT_CHANGED.timestamp()}

    def exists(self, path: str, **_more: Any) -> bool:
        try:
            return length(_whole(path)) >= 0
        except FileNotFoundError:
            return False

    def modified(self, path: str) -> datetime.datetime:
        return NOT_CHANGED

    def glob(self, path: str, maxdepth=None, **_more: Any) -> list[str]:
        return [path] if self.exists(path) else []


class SampleFiles(ObjectFiles):
    """A file of no row in the place of every object: views are defined over it without one request."""

    def __init__(self, samples: dict[str, bytes]):
        """
        Args:
            samples: beginning of addresses -> the file.
        """
        super().__init__()
        self.samples = samples

    def _sample(self, path: str) -> bytes:
        address = _whole(path)
        return next(content for start, content in self.samples.items() if address.startswith(start))

    def open(
        self, path: str, mode: str = "rb", block_size=None, cache_options=None, compression=None, **_more: Any
    ) -> IOBase:
        return BytesIO(self._sample(path))

    def info(self, path: str, **_more: Any) -> dict[str, Any]:
        return {"name": path, "size": len(self._sample(path)), "type": "file", "mtime": NOT_CHANGED.timestamp()}

    def exists(self, path: str, **_more: Any) -> bool:
        return True


def _whole(path: str) -> str:
    return path if path.startswith("s3://") else f"s3://{path}"
