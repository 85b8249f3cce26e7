"""A hash that stands for an example's id."""

import hashlib


def id_hash(example_id: str) -> int:
    """64-bit hash of an id that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(example_id.encode(), digest_size=8).digest(), "big")
