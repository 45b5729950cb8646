"""Annotations by which a message's fields say their Avro type where Python's own says too little."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fixed:
    """Avro `fixed`: exactly `size` bytes, under one name across all files."""

    name: str
    size: int
