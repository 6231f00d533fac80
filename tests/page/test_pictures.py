"""Pictures of every page in light and dark, wide and on a phone, for people to look at."""

import hashlib
import json
import math
import os
import time
import unittest

from base import PICTURES, Page
from driver import until
from world import ROOT, Redis, Sender, Webhook

WIDE, PHONE = (1380, 900), (390, 844)
KINDS = ["financial:end-budget", "campaign:stop-campaign", "campaign:started", "user:signed-in", "finacial:end-budget"]
NAMES = ["Ada", "Grace", "Barbara", "Edsger", "Radia"]
LONG = "warehouse.northern-europe.fulfilment:consignment.customs-declaration:amended-after-inspection-by-authorities"


def event(n):
    kind = KINDS[(n * 7 + n // 3) % 5] if n % 6 else KINDS[0]
    return kind, {"campaign_id": 100 + n * 37 % 900, "advertiser": NAMES[n % 5], "budget": round(n * 17.31 % 5000, 2)}


class Pictures(Page):
    def setUp(self):
        super().setUp()
        self.browser.devtools("Emulation.setScrollbarsHidden", hidden=True)
        self.addCleanup(self.browser.devtools, "Emulation.setScrollbarsHidden", hidden=False)

    def shoot(self, name, page, ready, act=None, hub=None):
        """A page in light and dark, wide and on a phone; `act` is what somebody does there first."""
        browser = self.browser
        for scheme in ["light", "dark"]:
            browser.colours(scheme)
            for kind, size in [("", WIDE), ("phone-", PHONE)]:
                browser.size(*size)
                self.go(page, hub)
                self.shown(page)
                browser.sees(*ready)
                if act:
                    act()
                # Until what moves in has arrived.
                time.sleep(0.4)
                browser.picture(PICTURES / f"{kind}{name}-{scheme}.png")
                self.assertEqual(browser.script("return document.documentElement.scrollWidth <= innerWidth"), True, f"{name} fits")
        browser.size(*WIDE)
        browser.colours("light")

    def busy(self):
        """A hub with something of everything."""
        hub = self.hub
        fails, dead = Webhook(), Webhook()
        self.addCleanup(fails.close)
        self.addCleanup(dead.close)
        fails.status = dead.status = 503
        fails.answer = b"upstream connect error or disconnect/reset before headers. reset reason: connection termination"
        hub.register("financial:end-budget", "24days", [self.hook.stream("campaigns"), fails.stream("billing", retry={"first": "1s", "max": "2s"})])
        hub.register("campaign:stop-campaign", "permanent", [self.hook.stream("unpublish")])
        hub.register("campaign:started", "7days", [self.hook.stream("reports"), dead.stream("archive", retry={"attempts": 2, "first": "1s", "max": "1s"})])
        hub.register("user:signed-in", "ephemeral")
        hub.register(LONG, "1h30m", [self.hook.stream("customs-declaration-forwarder-for-the-northern-region")])
        hub.call("PATCH", f"/api/events/streams/{LONG}/customs-declaration-forwarder-for-the-northern-region", {"state": "paused"})
        hub.send_many([("campaign:started", {"campaign_id": n}) for n in range(3)])
        hub.send_many([(LONG, {"consignment": n, "remark": "inspected " * 40}) for n in range(1000)])
        until("dead letters", lambda: hub.call("GET", "/api/events/streams/campaign:started/archive")["dead"] == 3)
        dead.status = 200
        # About 25 a second, now more, now less.
        sender = Sender(hub, event, lambda s: 25 * s + 600 * (1 - math.cos(s / 50)), 0.2)
        self.addCleanup(sender.stop)

    def test_pictures_of_a_busy_hub(self):
        browser, hub = self.browser, self.hub
        self.busy()
        self.go("live")
        # Long enough for charts to have a shape; `make picture` waits for a whole quarter of an hour.
        wait = float(os.environ.get("PAGE_HISTORY", "25"))
        end = time.monotonic() + wait
        until("history", lambda: time.monotonic() > end, wait + 30)
        self.go("streams")
        self.shoot("overview", "overview", ["What needs attention", "Broken", "has failed for"])
        if os.environ.get("PAGE_README"):
            self.go("overview")
            browser.sees("has failed for", "up ")
            browser.size(1380, browser.script("return document.documentElement.scrollHeight"))
            browser.picture(ROOT / "docs/dashboard.png")
        self.shoot("live", "live", ["Live: every type", "Ada"], lambda: browser.sees("a second ·"))
        self.shoot("types", "types", ["campaign:started", "Register this"])
        self.go("types")
        until("rates", lambda: (lambda row: row and "–" not in row)(self.row("campaign:started")))
        browser.picture(PICTURES / "types-rates-light.png")
        self.shoot("register", "types/edit/financial%3Aend-budget", ["Edit financial:end-budget"],
                   lambda: browser.click("Name, mailbox") if browser.script("return innerWidth") > 1000 else None)

        def wrong():
            browser.fill("Type", "no type at all")
            browser.fill("Kept for", "for ever")
            browser.click("Add a stream")
            browser.fill("URI", "ftp://user:secret@nowhere")
            browser.click("Register", "//main")
            until("errors", lambda: browser.script("return document.querySelectorAll('[aria-invalid=true]').length") == 3)
        self.shoot("register-wrong", "types/new", ["Register a type"], wrong)
        self.shoot("streams", "streams", ["billing", "archive"])
        self.shoot("stream", "streams/financial%3Aend-budget/billing", ["Last failure", "Attempts"])
        self.shoot("dead", "streams/campaign%3Astarted/archive", ["Dead letters (3)"])
        self.shoot("delete", "streams/campaign%3Astarted/archive", ["Dead letters (3)"],
                   lambda: (browser.click("Delete all"), browser.sees("3 events will never")))
        self.shoot("replay", "streams/financial%3Aend-budget/campaigns", ["Attempts", "delivered"],
                   lambda: (browser.click("Count and replay"), browser.sees("stored events from")))

        def as_client():
            browser.fill("As client", "12345")
            browser.click("Show")
            browser.sees("Client 12345")
        self.shoot("feed", "feed", ["Hour from"], as_client)
        self.shoot("nodes", "nodes", ["1 hub on this store"])
        last = hub.call("GET", "/api/events/streams/campaign:started/archive/dead")["dead"][0]["event"]["id"]

        def one_event():
            browser.press("e")
            browser.fill("Event id", last)
            browser.click("Find")
            browser.sees("What happened", "stored", "failed")
        self.shoot("event", "overview", ["What needs attention"], one_event)
        self.shoot("keys", "overview", ["What needs attention"], lambda: (browser.press("?"), browser.sees("Keyboard shortcuts")))
        # The form was filled in wrongly on purpose.
        self.assertEqual([line for line in browser.errors() if "/api/events/register" not in line], [])

    def test_pictures_of_a_new_hub(self):
        self.shoot("new-overview", "overview", ["Nothing: every stream delivers"])
        self.shoot("new-live", "live", ["Nothing has come yet"])
        self.shoot("new-types", "types", ["No type is registered"])
        self.shoot("new-streams", "streams", ["No type has a stream"])
        self.shoot("new-feed", "feed", ["No event in this slice"])
        self.assertEqual(self.browser.errors(), [])

    def test_pictures_of_hubs_on_one_redis(self):
        redis = Redis(appendonly="no", maxmemory="64mb", maxmemory_policy="allkeys-lru")
        self.addCleanup(redis.close)
        hubs = [self.hub_of(EVENTS__STORE__URL=redis.url) for _ in range(3)]
        hubs[0].register("a:b", streams=[self.hook.stream("hook")])
        hubs[1].send_many([("a:b", {"text": "x" * 700, "n": n}) for n in range(1000)])
        self.shoot("redis-nodes", "nodes", ["3 hubs on this store", "appendonly no"], hub=hubs[2])
        self.shoot("redis-overview", "overview", ["one of 3 hubs", "appendonly no"], hub=hubs[2])

    def test_pictures_of_signing_in_and_of_a_hub_that_is_away(self):
        browser = self.browser
        token = {"name": "reader", "sha256": hashlib.sha256(b"reader").hexdigest(), "scopes": ["feed", "live"]}
        guarded = self.hub_of(EVENTS__AUTH__TOKENS=json.dumps([token]))
        self.shoot("sign-in", "overview", ["This hub asks for a token"], hub=guarded)
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in token.items())
        open_to_reader = self.hub_of(file=f"[[auth.tokens]]\n{lines}")
        self.go("live", open_to_reader)
        browser.fill("Access token", "reader")
        browser.click("Sign in")
        browser.sees("Live: every type")
        open_to_reader.reload("[[auth.tokens]]\n" + lines.replace("reader", "another").replace(token["sha256"], "0" * 64))
        browser.sees("Sign in again")
        for kind, size in [("", WIDE), ("phone-", PHONE)]:
            for scheme in ["light", "dark"]:
                browser.size(*size)
                browser.colours(scheme)
                browser.picture(PICTURES / f"{kind}sign-in-again-{scheme}.png")
        browser.size(*WIDE)
        browser.colours("light")
        hub = self.hub
        hub.register("t")
        hub.send("t", {"before": 1})
        self.go("live")
        browser.sees("Live: every type", "before")
        hub.stop()
        browser.sees("Disconnected since", "No answer since")
        browser.picture(PICTURES / "away-light.png")
        hub.start()
        browser.sees("Was disconnected for")
        browser.picture(PICTURES / "back-light.png")


if __name__ == "__main__":
    unittest.main(verbosity=2)
