"""Live: events as they come, filtered, paused, opened; disconnected and caught up."""

import re
import time
import unittest

from base import Page
from driver import until
from world import Sender

ROWS = "return [...document.querySelectorAll('.ev')].filter(r => !r.hidden).map(r => r.querySelector('code').textContent)"


class Live(Page):
    def total(self):
        """How many events the page says have come."""
        text = self.browser.script("return document.querySelector('.events .num').textContent")
        found = re.search(r"([\d,]+) events?( here)?$", text)
        return int(found[1].replace(",", "")) if found else None

    def test_live_shows_events_filters_pauses_and_opens_them(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hub.register("shop:order", streams=[hook.stream("ship")])
        hub.register("mail:sent")
        hub.send("shop:order", {"before": "the page"})
        self.go("live")
        browser.sees("Live: every type", "before")
        hub.send("shop:order", {"n": 12345678901234567890123, "who": "Ada"})
        hub.send("mail:sent", {"to": "Grace"})
        browser.sees("12345678901234567890123", "Grace")
        browser.fill("Text", "ada")
        browser.gone("Grace")
        browser.sees("Ada", "1 of 3 events here have this text")
        browser.fill("Text", "nowhere")
        browser.sees("No event here has this text")
        browser.script("const t = document.getElementById('live-text'); t.value = ''; t.oninput()")
        browser.fill("Types", "mail:*")
        browser.sees("Live: mail:*")
        browser.gone("Ada")
        hub.send("shop:order", {"not": "seen"})
        hub.send("mail:sent", {"to": "Barbara"})
        browser.sees("Barbara")
        self.assertNotIn("seen", browser.text())
        browser.fill("Types", "no type!")
        browser.sees("Types are letters")
        browser.fill("Types", "shop:*")
        browser.sees("Ada")
        browser.click("Pause")
        hub.send_many([("shop:order", {"while": f"paused {n}"}) for n in range(30)])
        browser.sees("30 wait")
        self.assertNotIn("paused 29", browser.text())
        browser.click("Go on")
        browser.sees("paused 29", "paused 20")
        held = browser.script("return document.querySelector('.list .space').style.height")
        self.assertEqual(held, f"{33 * 32}px", "two before, one unseen before its filter, thirty while paused: none lost")
        until("a row", lambda: browser.script("const r = [...document.querySelectorAll('.ev')].find(r => r.innerText.includes('paused 29')); r?.click(); return !!r"))
        browser.sees("Marked processed by", "Nobody yet", "ship", "delivered")
        browser.click("Close")

    def test_what_comes_while_it_is_paused_waits_in_the_page_and_then_in_the_hub(self):
        browser, hub = self.browser, self.hub
        hub.register("p:q")
        hub.send("p:q", "first")
        self.go("live")
        browser.sees("first", "Live: every type")
        browser.click("Pause")
        for start in range(0, 12000, 1000):
            hub.send_many([("p:q", n) for n in range(start, start + 1000)])
        browser.sees("Paused: 5,000 events wait here, those after them in the hub", "5,000+ wait")
        until("its session to be given back", lambda: hub.call("GET", "/api/events/overview")["now"]["sessions"] == 0)
        self.assertEqual(browser.script(ROWS), ['"first"'], "nothing moves meanwhile")
        browser.click("Go on")
        browser.sees("the other 7,000 events were read from the hub", "newest 5,000 events; all of them are in the feed")
        until("all of them", lambda: self.total() == 12001)
        self.assertEqual(browser.script(ROWS)[:2], ["11999", "11998"])
        hub.send("p:q", "after")
        browser.sees("after", "Live: every type")
        until("one more", lambda: self.total() == 12002)

    def test_what_is_older_than_the_hub_keeps_is_told(self):
        browser, hub = self.browser, self.hub
        hub.register("p:q", ttl="3s")
        hub.register("now:and-gone", ttl="ephemeral")
        hub.send("p:q", "first")
        self.go("live")
        browser.sees("first", "Live: every type")
        browser.click("Pause")
        for _ in range(6):
            hub.send_many([("p:q", n) for n in range(1000)])
        browser.sees("5,000+ wait")
        # Until what waits in the hub has expired there.
        until("the feed to be empty", lambda: hub.call("GET", "/api/events/feed/hour/current")["events"] == [])
        browser.click("Go on")
        browser.sees("no longer kept by the hub", "Ephemeral events of that time, if there were any, are not kept")

    def test_live_says_that_it_was_disconnected_and_what_it_caught_up(self):
        browser, hub = self.browser, self.hub
        hub.register("t")
        hub.send("t", "first")
        self.go("live")
        browser.sees("first", "Live: every type")
        hub.stop()
        browser.sees("Disconnected since", "(no answer)", "No answer since")
        browser.script("""window.said_ = 0; for (const e of document.querySelectorAll('[role=status], [role=log], [role=alert]'))
            new MutationObserver(() => said_++).observe(e, { subtree: true, childList: true, characterData: true });""")
        time.sleep(4)
        self.assertEqual(browser.script("return said_"), 0, "each new attempt is not said")
        hub.start()
        hub.send_many([("t", f"meanwhile {n}") for n in range(5)])
        browser.sees("Live: every type", "meanwhile 4", "Was disconnected for", "caught up 5 events of that time", "Connected")
        hub.send("t", "after")
        browser.sees("after")
        shown = browser.script(ROWS)
        self.assertEqual(len(shown), len(set(shown)), "nothing twice")

    def test_a_disconnect_of_a_busy_stream_is_caught_up_while_it_goes_on(self):
        browser, hub = self.browser, self.hub
        hub.register("t")
        self.go("live")
        browser.sees("Live: every type")
        first = Sender(hub, lambda n: ("t", f"a{n}"), 300)
        until("some", lambda: (self.total() or 0) > 300)
        sent = first.stop()
        hub.stop()
        browser.sees("Disconnected since")
        hub.start()
        second = Sender(hub, lambda n: ("t", f"b{n}"), 300)
        browser.sees("Was disconnected for", "caught up")
        time.sleep(1)
        sent += second.stop()
        self.assertIsNone(first.failed or second.failed)
        until(f"all {sent}", lambda: self.total() == sent)

    def test_a_quiet_hub_that_was_away_is_caught_up_from_its_feed(self):
        browser, hub = self.browser, self.hub
        hub.register("t")
        self.go("live")
        browser.sees("Live: every type", "Nothing has come yet")
        hub.stop()
        browser.sees("Disconnected since")
        hub.start()
        hub.send("t", "the first of all")
        browser.sees("the first of all", "Was disconnected for", "caught up 1 event of that time")

    def test_why_no_session_is_opened_is_told(self):
        hub = self.hub_of(EVENTS__LIVE__MAX_SESSIONS="1")
        browser = self.browser
        self.go("live", hub)
        browser.sees("Live: every type")
        other = browser.command("POST", "/window/new", {"type": "tab"})["handle"]
        here = browser.command("GET", "/window")
        browser.command("POST", "/window", {"handle": other})
        try:
            self.go("live", hub)
            browser.sees("Disconnected since", "sessions")
        finally:
            browser.command("DELETE", "/window")
            browser.command("POST", "/window", {"handle": here})


if __name__ == "__main__":
    unittest.main(verbosity=2)
