#!/usr/bin/env python3
"""A consumer that misses nothing, with the standard library alone.

    examples/consumer.py http://127.0.0.1:8080 CLIENT [TYPES] [STATE_FILE]

It reads what its client has not marked yet from the feed, marks it, then listens live from there on. It comes back
after every fault with the last id it has processed, which it keeps in STATE_FILE. Each event is printed, one a line.
Delivery is at least once: `process` may see an event again.
"""
import http.client
import json
import os
import random
import sys
import time
from urllib.parse import quote, urlsplit

# Longer than three heartbeats without a byte mean that the connection is dead.
SILENCE = 50


class Hub:
    def __init__(self, url, client, types):
        self.url, self.client, self.types = urlsplit(url), quote(client, safe=""), quote(types, safe=":*,")

    def connect(self):
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        return kind(self.url.hostname, self.url.port, timeout=SILENCE)

    def call(self, method, path, body=None):
        connection = self.connect()
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body and json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 400:
                raise OSError(f"{method} {path}: {answer.status} {text[:200]!r}")
            return json.loads(text)
        finally:
            connection.close()

    def pending(self):
        """Everything of the last two days that the client has not marked, oldest first."""
        found, path = [], f"/api/events/feed/day/current/client/{self.client}?types={self.types}"
        days = 2
        while path and days:
            page = self.call("GET", path)
            found += page["events"]
            links = {link["rel"]: link["href"] for link in page["links"]}
            days -= "more" not in links
            url = urlsplit(links.get("more") or links["prev"])
            path = f"{url.path}?{url.query}"
        return sorted(found, key=lambda event: int(event["id"]))

    def newest(self):
        """The id of today's newest event; empty when there is none."""
        events = self.call("GET", f"/api/events/feed/day/current?limit=1&types={self.types}")["events"]
        return events[0]["id"] if events else ""

    def mark(self, ids):
        for begin in range(0, len(ids), 1000):
            self.call("PUT", f"/api/events/ok/{self.client}", {"ids": ids[begin:begin + 1000]})

    def live(self, since):
        """Yields events as they come, those after `since` first."""
        connection = self.connect()
        try:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": since}
            connection.request("GET", f"/api/events/?types={self.types}", headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"no live session: {answer.status} {answer.read(200)!r}")
            event, data = "message", []
            while line := answer.readline():
                line = line.decode().rstrip("\r\n")
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "data":
                    data.append(value)
                elif field == "event":
                    event = value
                elif not line:
                    if data:
                        yield event, json.loads("\n".join(data))
                    event, data = "message", []
        finally:
            connection.close()


def process(event):
    print(json.dumps(event), flush=True)


def load(state):
    try:
        with open(state) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def save(state, cursor):
    if state:
        with open(f"{state}.new", "w") as file:
            file.write(cursor)
        os.replace(f"{state}.new", state)


def consume(hub, cursor, state):
    # A cursor from before the feed is read: what comes in meanwhile is not missed.
    cursor = cursor or hub.newest()
    for event in hub.pending():
        process({name: event[name] for name in ("id", "type", "payload", "created_at")})
        hub.mark([event["id"]])
        cursor = max(cursor, event["id"], key=lambda id: int(id or 0))
        save(state, cursor)
    seen = set()
    for kind, event in hub.live(cursor or "0"):
        if kind == "control":
            print(event, file=sys.stderr, flush=True)
            continue
        if event["id"] not in seen and int(event["id"]) != int(cursor or 0):
            process(event)
            hub.mark([event["id"]])
        seen.add(event["id"])
        if len(seen) > 100_000:
            seen.clear()
        cursor = max(cursor, event["id"], key=lambda id: int(id or 0))
        save(state, cursor)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    url, client, types, state = (sys.argv[1:] + ["*", ""][len(sys.argv) - 3:])[:4]
    hub, pause = Hub(url, client, types), 0.1
    while True:
        begun = time.monotonic()
        try:
            consume(hub, load(state) if state else "", state)
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(f"reconnecting: {error!r}", file=sys.stderr, flush=True)
        pause = 0.1 if time.monotonic() - begun > 10 else min(pause * 2, 10)
        time.sleep(pause * random.uniform(0.5, 1))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
