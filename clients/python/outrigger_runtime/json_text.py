"""JSON as it travels: UTF-8 text in bytes, empty where there is nothing; and the digest that binds a decision to what runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def encode(value: Any) -> bytes:
    """The bytes of a value. Raises `TypeError` or `ValueError` for what JSON has no form for."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def encode_optional(value: Any) -> bytes:
    """The bytes of a value; none for None."""
    return b"" if value is None else encode(value)


def decode(data: bytes) -> Any:
    """The value of bytes; None for none. Raises `ValueError` where they are no JSON."""
    return json.loads(data) if data else None


def canonical_json(value: Any) -> str:
    """The canonical text of a value (RFC 8785): keys in UTF-16 order, numbers as ECMAScript writes them, no space.

    An `int` stands as it is, whatever its size. Raises `TypeError` or `ValueError` for what JSON has no form for.
    """
    parts: list[str] = []
    _write(value, parts, set())
    return "".join(parts)


def digest(value: Any) -> bytes:
    """SHA-256 of the canonical form of a value, 32 bytes."""
    return hashlib.sha256(canonical_json(value).encode()).digest()


def _write(value: Any, out: list[str], within: set[int]) -> None:
    if value is None:
        out.append("null")
    elif value is True or value is False:
        out.append("true" if value else "false")
    elif isinstance(value, str):
        out.append(_text(value))
    elif isinstance(value, int):
        out.append(int.__repr__(value))
    elif isinstance(value, float):
        out.append(_number(value))
    elif isinstance(value, (Mapping, list, tuple)):
        if id(value) in within:
            raise ValueError("the value contains itself")
        within.add(id(value))
        if isinstance(value, Mapping):
            _object(value, out, within)
        else:
            out.append("[")
            for index, item in enumerate(value):
                out.append("," if index else "")
                _write(item, out, within)
            out.append("]")
        within.discard(id(value))
    else:
        raise TypeError(f"{type(value).__name__} is no value of JSON")


def _object(value: Mapping[Any, Any], out: list[str], within: set[int]) -> None:
    if not all(isinstance(key, str) for key in value):
        raise TypeError("a key is no text")
    out.append("{")
    for index, key in enumerate(sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))):
        out.append("," if index else "")
        out.append(_text(key))
        out.append(":")
        _write(value[key], out, within)
    out.append("}")


def _text(text: str) -> str:
    # Raises where a surrogate stands alone, which no UTF-8 has.
    text.encode()
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """A float as ECMAScript writes it (Number::toString): Python finds the same digits and places them otherwise."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    if value == 0:
        return "0"
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'+' if power > 0 else '-'}{abs(power)}"
