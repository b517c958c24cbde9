"""Requests for a part of a file (RFC 9110, sections 13 and 14): Range, If-Range and If-Match."""

import re
from dataclasses import replace

from servers.messages import Content, Request, Response

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def select_range(request: Request, response: Response) -> Response:
    """Returns what answers a request for a file: all of it, the range that was asked for, or that there is none."""
    if response.file is None:
        return response
    if not _matches(request.headers.get("if-match"), response):
        return Response.json({"error": "the file has changed"}, 412)
    if response.accepts_ranges:
        response = response.with_headers(Accept_Ranges="bytes")
    asked = _asked_range(request, response)
    return response if asked is None else _part(response, *asked)


def _matches(condition: str | None, response: Response) -> bool:
    if condition is None or condition.strip() == "*":
        return True
    return response.headers.get("ETag") in [tag.strip() for tag in condition.split(",")]


def _asked_range(request: Request, response: Response) -> tuple[int, int] | None:
    """Returns the start and end of the range to send; an end before its start is a range that the file lacks."""
    if not response.accepts_ranges or request.headers.get("if-range") not in (None, response.headers.get("ETag")):
        return None
    parsed = RANGE.fullmatch(request.headers.get("range", ""))
    if parsed is None or parsed.group(0) == "bytes=-":
        return None  # what is not understood, such as several ranges, is ignored
    first, last = parsed.groups()
    size = len(response.content)
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


def _part(response: Response, start: int, stop: int) -> Response:
    size = len(response.content)
    if start >= stop:
        return Response.json({"error": "no such range"}, 416, {"Content-Range": f"bytes */{size}"})
    first, last = (max(place + response.range_shift, 0) for place in (start, stop))
    declared = (start, stop) if response.range_lie else (first, min(last, size))
    part: Content = response.content[first:last]
    described = response.with_headers(Content_Range=f"bytes {declared[0]}-{declared[1] - 1}/{size}")
    return replace(described, status=206, content=part)
