"""Segment's library for Python, as published, against a running server: plain, then with compressed bodies."""

from segment.analytics.client import Client

from story import report, server, tell


def client(**options):
    # Two retries instead of ten: a server that refuses is reported within seconds.
    return lambda on_error: Client(**server(), **options, max_retries=2, on_error=on_error)


report(
    "segment-python",
    tell(client(), "segment-python"),
    tell(client(gzip=True), "segment-python-gzip"),
)
