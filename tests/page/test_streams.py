"""Streams: paused, tuned, resumed, replayed; dead letters sent again and deleted."""

import unittest

from base import Page
from driver import until
from world import Sender

DEAD = "//section[@aria-label='Dead letters']"


class Streams(Page):
    def test_streams_are_paused_tuned_and_resumed_and_dead_letters_sent_again(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hub.register("a:b", streams=[hook.stream("hook", retry={"attempts": 1})])
        hook.status = 500
        hub.send_many([("a:b", n) for n in range(3)])
        self.go("streams")
        browser.sees("hook", "a:b")
        until("dead letters", lambda: "3" in self.row("hook").split())
        browser.click("hook")
        browser.sees("Dead letters (3)", "500")
        hook.status = 200
        browser.click("Retry", f"{DEAD}//tbody")
        browser.sees("Dead letters (2)", "1 dead letter sent again")
        browser.click("Delete", f"{DEAD}//tbody")
        browser.sees("1 event will never be delivered to hook")
        browser.click("Delete 1 dead letter")
        browser.sees("Dead letters (1)")
        browser.click("Retry all")
        browser.sees("Send 1 dead letter again?")
        browser.click("Send 1 event again")
        browser.sees("Dead letters (0)")
        until("both deliveries", lambda: len(hook.bodies) == 2)
        browser.click("Pause")
        browser.sees("delivers nothing until it is resumed")
        browser.click("Pause hook")
        browser.sees("paused")
        hub.send_many([("a:b", n) for n in range(4)])
        browser.sees("4", "oldest")
        browser.fill("Concurrency", "0")
        browser.click("Tune")
        until("the error at its field", lambda: browser.script("return document.querySelector('[data-at=\"/concurrency\"]').getAttribute('aria-invalid')"))
        browser.fill("Concurrency", "3")
        browser.fill("Mailbox", "77")
        browser.click("Tune")
        browser.sees("of 3", "/ 77")
        browser.click("Resume")
        until("what waited", lambda: len(hook.bodies) == 6)
        browser.sees("nothing waits")
        browser.click("Count and replay")
        browser.sees("Deliver 7 events again?")
        browser.click("Deliver 7 events")
        until("the replay", lambda: len(hook.bodies) == 13)
        hook.status = 500
        hub.send("a:b", "given up")
        browser.sees("Dead letters (1)")
        browser.click("Pause")
        browser.click("Pause hook")
        browser.sees("paused")
        hub.send_many([("a:b", n) for n in range(2)])
        browser.sees("oldest")
        browser.click("Delete stream")
        browser.sees("The 2 events that wait for it become dead letters at once", "The 1 dead letter there is stays")
        browser.click("Delete hook")
        browser.sees("gone, or never was", "Dead letters (3)")
        browser.click("Delete all 3", DEAD)
        browser.click("Delete 3 dead letters")
        browser.sees("Dead letters (0)")

    def test_charts_begin_with_what_the_hub_has_seen_before_the_page_was_opened(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hub.register("a:b", streams=[hook.stream("hook")])
        hub.register("a:c", streams=[hook.stream("held")])
        hub.call("PATCH", "/api/events/streams/a:c/held", {"state": "paused"})
        sender = Sender(hub, lambda n: ("a:b" if n % 2 else "a:c", n), 40)
        self.addCleanup(sender.stop)
        past = lambda ty, name: hub.call("GET", f"/api/events/streams/{ty}/{name}")["history"]
        found = until("two samples", lambda: (lambda h: h if len(h) >= 2 else None)(past("a:b", "hook")), 70)
        self.assertTrue(2 < found[-1]["delivered"] < 60, found)
        held = past("a:c", "held")
        self.assertGreater(held[-1]["backlog"], held[-2]["backlog"])
        drawn = "return [...document.querySelectorAll('.chart')].map(c => c.querySelector('path.a').getAttribute('d').split('L').length)"
        # The page's first drawing, before it can have measured anything itself.
        self.addCleanup(browser.before_each_page("""new MutationObserver((_, seen) => {
            if (document.querySelector('.chart')) { window.first_ = (() => { %s })(); seen.disconnect(); }
            }).observe(document, { subtree: true, childList: true });""" % drawn))
        self.go("streams/a%3Ab/hook")
        browser.sees("delivered a second")
        backlog, throughput = browser.script("return window.first_")
        self.assertGreaterEqual(backlog, 3, "the hub's samples, and now")
        self.assertGreaterEqual(throughput, 2)
        until("what the page sees itself to go on from it", lambda: browser.script(drawn)[1] > throughput)
        self.assertEqual(browser.errors(), [])

    def test_many_dead_letters_are_paged_and_counted(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        # All of them are tried at once, so that none waits for the stream to do well again.
        hub.register("a:b", streams=[hook.stream("hook", retry={"attempts": 1}, concurrency=200)])
        hook.status = 500
        hub.send_many([("a:b", n) for n in range(120)])
        until("dead letters", lambda: hub.call("GET", "/api/events/streams/a:b/hook")["dead"] == 120)
        self.go("streams/a%3Ab/hook")
        browser.sees("Dead letters (120)", "The first 50 are shown", "Delete all 120")
        browser.click("Show more")
        until("all of them", lambda: browser.script("return document.querySelectorAll(\"[aria-label='Dead letters'] tbody tr\").length") == 120)
        browser.click("Delete all")
        browser.sees("Delete 120 dead letters?", "120 events will never be delivered to hook")
        browser.click("Delete 120 dead letters")
        browser.sees("Dead letters (0)", "120 dead letters deleted")

    def test_only_failures_are_shown_when_asked_for(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hub.register("a:b", streams=[hook.stream("hook", retry={"first": "1s", "max": "1s"})])
        hook.status = 500
        hub.send("a:b", 1)
        self.go("streams/a%3Ab/hook")
        browser.sees("failed", "out of ink")
        hook.status = 200
        outcomes = "return [...document.querySelectorAll(\"[aria-label='Attempts'] tbody .pill\")].map(p => p.textContent)"
        until("the success", lambda: "delivered" in browser.script(outcomes))
        browser.script("document.getElementById('failures').click()")
        self.assertEqual(set(browser.script(outcomes)), {"failed"})

    def test_rows_stay_where_they_are_and_keep_the_focus(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        for name in ["a:a", "b:b", "c:c"]:
            hub.register(name, streams=[hook.stream("hook")])
        self.go("streams")
        browser.sees("3 streams: 3 active", "c:c")
        button = "[...document.querySelectorAll('tbody tr')].find(r => r.innerText.includes('b:b')).querySelector('button')"
        browser.script(f"{button}.focus()")
        hub.call("PATCH", "/api/events/streams/c:c/hook", {"state": "paused"})
        until("what is paused to stand first", lambda: "c:c" in browser.script("return document.querySelector('tbody tr').innerText"))
        self.assertTrue(browser.script(f"return document.activeElement === {button}"), "though its row has moved")
        browser.script("const f = document.querySelector('.finder'); f.value = 'paused'; f.oninput()")
        browser.gone("a:a")
        browser.sees("c:c")


if __name__ == "__main__":
    unittest.main(verbosity=2)
