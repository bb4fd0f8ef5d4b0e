"""Takes a log out of what it was packed into on its way: JSON of collectors, notebooks, HTML."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

_JSON_TEXT_KEYS = ("log", "textPayload", "message", "msg", "text", "line")
_JSON_PAYLOAD_KEYS = ("jsonPayload", "record", "fields")
_ENTITIES = {
    b"&#39;": b"'",
    b"&#x27;": b"'",
    b"&quot;": b'"',
    b"&lt;": b"<",
    b"&gt;": b">",
    b"&amp;": b"&",
}


def unpack(text: bytes) -> tuple[bytes, Counter[str]]:
    """Return the text that was packed, and what was unpacked -> how often.

    A notebook, an array or lines of entries with a text, lines that are JSON strings, HTML.
    """
    repairs: Counter[str] = Counter()
    text = _unpack_json(text, repairs)
    if b"&" in text and any(mark in text for mark in (b"&#39;", b"&quot;", b"&#x27;")):
        for entity, plain in _ENTITIES.items():
            repairs["HTML entities read"] += text.count(entity)
            text = text.replace(entity, plain)
    return text, repairs


def _unpack_json(text: bytes, repairs: Counter[str]) -> bytes:
    head = text[:4096].lstrip()
    if re.match(rb"\[\s*\{\s*\"", head) and (entries := _array_texts(text)):
        repairs["entries of a JSON array unpacked"] += len(entries)
        return "\n".join(entries).encode(errors="replace")
    if head.startswith(b"{") and b'"cells"' in text[: 1 << 16] + text[-(1 << 16) :]:
        try:
            notebook = json.loads(text)
        except (ValueError, RecursionError):
            notebook = None
        if isinstance(notebook, dict):
            repairs["notebook unpacked"] += 1
            return "\n".join(_texts(notebook.get("cells"))).encode(errors="replace")
    lines = text.split(b"\n") if head[:1] in (b"{", b'"') else []
    stripped = [line.strip().rstrip(b",") for line in lines]
    full = [line for line in stripped if line]
    if full and 2 * sum(line[:1] == head[:1] for line in full) > len(full):
        found = [_json_text(line) for line in stripped]
        if 2 * sum(value is not None for value in found) > len(full):
            told = (
                raw if value is None else value for raw, value in zip(stripped, found, strict=True)
            )
            repairs["JSON strings unpacked"] += sum(value is not None for value in found)
            return b"\n".join(told)
    return text


def _array_texts(text: bytes) -> list[str]:
    """Return the texts of the entries of a JSON array, oldest first where all are stamped."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return []
    told = [(entry.get("timestamp"), _entry_text(entry)) for entry in entries if _is_dict(entry)]
    found = [(stamp, line) for stamp, line in told if line is not None]
    if all(isinstance(stamp, str) for stamp, _ in found):
        found.sort(key=lambda entry: entry[0])
    return [line.rstrip("\n") for _, line in found]


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _json_text(line: bytes) -> bytes | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value = _entry_text(value)
    return value.rstrip("\n").encode(errors="replace") if isinstance(value, str) else None


def _entry_text(entry: dict[str, Any]) -> str | None:
    """Return the text of an entry, which may stand in a part of it."""
    parts = [entry, *(part for k in _JSON_PAYLOAD_KEYS if _is_dict(part := entry.get(k)))]
    told = (part.get(key) for part in parts for key in _JSON_TEXT_KEYS)
    return next((value for value in told if isinstance(value, str)), None)


def _texts(cells: Any) -> list[str]:
    """Return the texts of every output of a notebook's cells, in order."""
    found = []
    for cell in cells if isinstance(cells, list) else []:
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        for output in outputs if isinstance(outputs, list) else []:
            text = output.get("text", "") if isinstance(output, dict) else ""
            found.append("".join(map(str, text)) if isinstance(text, list) else str(text))
    return found
