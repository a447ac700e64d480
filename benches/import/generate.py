#!/usr/bin/env python3
"""Makes people.csv and doings.ndjson for measuring `tributary import`: benches/import/run.sh says how. The same seed, the same files."""

import json
import random
import sys

people, folder = int(sys.argv[1]), sys.argv[2]
draw = random.Random(7)
first = ["Ada", "Grace", "Mei", "Jörg", "Lin", "Olu", "Anna", "Wei", "Paul", "Zoë"]
last = ["Lovelace", "Hopper", "Wang", "Müller", "Li", "Okoye", "Schmidt", "Zhang", "Smith", "Chen"]

with open(f"{folder}/people.csv", "w", encoding="utf-8") as file:
    file.write("user id,email,phone,first name,last name,city,created at\n")
    for n in range(people):
        # One in twenty is there twice, under another id.
        address = n if n % 20 else max(n - 10, 0)
        day = f"2024-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
        name = f"{draw.choice(first)},{draw.choice(last)}"
        file.write(f"u{n},p{address}@example.test,+4930{n:08},{name},City {n % 500},{day}\n")

with open(f"{folder}/doings.ndjson", "w", encoding="utf-8") as file:
    for n in range(4 * people):
        who = f"u{draw.randrange(people)}"
        at = f"2025-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}T{draw.randint(0, 23):02}:{draw.randint(0, 59):02}:00Z"
        message = {"type": "track", "userId": who, "timestamp": at}
        if n % 4 == 0:
            price = f"{draw.randint(5, 200)}.{draw.randint(0, 99):02}"
            lines = [{"product_id": f"sku-{draw.randrange(2000)}", "quantity": 1, "price": price}]
            message |= {"event": "Order Completed", "properties": {"order_id": f"o{n}", "currency": "EUR", "products": lines}}
        else:
            message |= {"event": "Product Viewed", "properties": {"product_id": f"sku-{draw.randrange(2000)}", "n": n}}
        file.write(json.dumps(message) + "\n")
