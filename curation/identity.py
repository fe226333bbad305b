"""Names by content: equal texts have equal ids in every source, order and machine (spec 0.01, 0.07).

Every id is a 128-bit BLAKE2b digest in hex over length-prefixed parts, so that no text can imitate the border between
two others. The names of the pool's pairs, of its conversations and of recorded answers all come from here.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

Turn = tuple[str, str]  # role, content
Conversation = Sequence[Turn | Mapping[str, str]]  # as pairs, or as {role, content} like the lake stores it


def digest(parts: Iterable[str]) -> str:
    """32 hex digits over the parts and their borders.

    Raises:
        UnicodeEncodeError: a part holds half of a surrogate pair and is no text.
    """
    pieces: list[bytes] = []
    for part in parts:
        data = part.encode()
        pieces += (len(data).to_bytes(8, "little"), data)
    return blake2b(b"".join(pieces), digest_size=16).hexdigest()


def _framed(part: str) -> bytes:
    data = part.encode()
    return len(data).to_bytes(8, "little") + data


def lot(text: str | bytes, seed: str = "", size: int = 8) -> int:
    """A number of `size` bytes by lot: equal texts and seeds give equal numbers. That of SQL is the macro `draw`."""
    data = text if isinstance(text, bytes) else text.encode()
    return int.from_bytes(blake2b(data, digest_size=size, key=seed.encode()[:64]).digest())


def draw(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(digest(map(str, parts))[:13], 16) / 16**13


def text_hash(text: str) -> str:
    """Name of one response."""
    return digest((text,))


def conv_id(conversation: Conversation) -> str:
    """Name of a conversation: roles and contents of all its turns."""
    parts: list[str] = []
    for turn in conversation:
        parts += turn if isinstance(turn, tuple | list) else (turn["role"], turn["content"])
    return digest(parts)


def pair_id(conversation: Conversation | str, chosen: str, rejected: str) -> str:
    """Name of (conversation, chosen, rejected); the conversation as turns or as its `conv_id`."""
    return digest((_named(conversation), chosen, rejected))


def comparison_id(conversation: Conversation | str, a: str, b: str) -> str:
    """Name of a conversation with two responses in either order, so that (a, b) and (b, a) meet."""
    return digest((_named(conversation), *sorted((a, b))))


def pair_ids(conversation: str, chosen: str, rejected: str) -> tuple[str, str]:
    """`pair_id` and `comparison_id` at once, each text encoded once."""
    name, one, two = _framed(conversation), _framed(chosen), _framed(rejected)
    pair = blake2b(name + one + two, digest_size=16).hexdigest()
    if chosen < rejected:  # in order, both hash the same bytes
        return pair, pair
    return pair, blake2b(name + two + one, digest_size=16).hexdigest()


def _named(conversation: Conversation | str) -> str:
    return conversation if isinstance(conversation, str) else conv_id(conversation)


def bucket_of(comparison: str, buckets: int) -> str:
    """The bucket of a pair. Buckets are ranges of `comparison_id`: equal pairs and mirror images share one."""
    return f"b{int(comparison[:8], 16) * buckets >> 32:02d}"


def bucket_range(bucket: str, buckets: int) -> tuple[str, str]:
    """The bounds (low, high) with `low <= comparison_id < high` for exactly the ids of the bucket."""
    index = int(bucket[1:])
    low, high = (-((-i << 32) // buckets) for i in (index, index + 1))
    return f"{low:08x}", f"{high:08x}" if high < 1 << 32 else "g"
