"""The little story that every client tells, as ../node/story.mjs has it, and the line that the tests read.

The ids begin with the client's name, so that a test finds each client's person, order and company again.
"""

import json
import os
import sys
from datetime import datetime, timezone


def server():
    """The server to tell it to, as the arguments that both libraries take."""
    return {"write_key": os.environ["TRIBUTARY_WRITE_KEY"], "host": os.environ["TRIBUTARY_HOST"]}


def tell(make_client, name):
    """Tells the story through the client that make_client(on_error) gives. Returns what happened, for report()."""
    failures = []
    lost = []

    def on_error(error, batch):
        failures.append(f"{name}: {error}")
        lost.extend(batch)

    user, device = f"{name}-user", f"{name}-anonymous"
    client = make_client(on_error)
    queued = [
        client.identify(
            user_id=user,
            anonymous_id=device,
            traits={
                "email": f"{name}@example.test",
                "firstName": "Ada",
                "address": {
                    "street": "1 Example Street",
                    "city": "Exampleton",
                    "postalCode": "EX1 1AA",
                    "country": "GB",
                },
            },
        ),
        client.track(
            user_id=user,
            event="Order Completed",
            timestamp=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc),
            properties={
                "order_id": f"{name}-order",
                "revenue": 45,
                "total": 52.5,
                "currency": "EUR",
                "products": [{"product_id": "p-1", "price": 45, "quantity": 1}],
            },
        ),
        # Page and screen know the device only: the server has to find the person through the identify before them.
        client.page(
            anonymous_id=device, category="Docs", name="Home", properties={"url": "http://shop.example.test/docs"}
        ),
        client.screen(anonymous_id=device, category="Shop", name="Orders", properties={"filter": "open"}),
        client.group(user_id=user, group_id=f"{name}-company", traits={"name": "Example Ltd", "plan": "team"}),
        client.alias(user_id=user, previous_id=f"{name}-earlier"),
    ]
    client.shutdown()

    refused = sum(1 for accepted, _ in queued if not accepted)
    if refused:
        failures.append(f"{name}: {refused} calls did not fit into the library's queue")
    return {"sent": len(queued) - refused - len(lost), "failures": failures}


def report(client, *told):
    """Prints the line and ends the process."""
    failures = [failure for story in told for failure in story["failures"]]
    print(json.dumps({"client": client, "sent": sum(story["sent"] for story in told), "failures": failures}))
    sys.exit(1 if failures else 0)
