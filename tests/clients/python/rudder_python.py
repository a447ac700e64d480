"""RudderStack's library for Python, as published, against a running server. It compresses and counts only 200 as delivered."""

from rudderstack.analytics.client import Client

from story import report, server, tell


def client(on_error):
    # Two retries instead of ten: a server that refuses is reported within seconds.
    return Client(**server(), max_retries=2, on_error=on_error)


report("rudder-python", tell(client, "rudder-python"))
