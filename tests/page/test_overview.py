"""Overview: what needs somebody, how the hub does, and how quickly that is on the screen."""

import time
import unittest

from base import Page
from driver import until
from world import Sender

# Notes when the first answer of the hub can be read and used.
USABLE = """new MutationObserver((_, seen) => {
  if (document.querySelector('#needs + .well')) { window.usable_ = performance.now(); seen.disconnect(); }
}).observe(document, { subtree: true, childList: true });"""
LOADED = """const all = performance.getEntriesByType('resource'), nav = performance.getEntriesByType('navigation')[0];
return [nav.transferSize + all.reduce((n, e) => n + e.transferSize, 0), [...new Set(all.map(e => new URL(e.name).origin))]]"""


class Overview(Page):
    def test_the_first_look_is_quick_and_complains_of_nothing(self):
        browser = self.browser
        self.addCleanup(browser.before_each_page(USABLE))
        self.go("overview")
        browser.sees("What needs attention", "Nothing: every stream delivers")
        usable = until("the first answer", lambda: browser.script("return window.usable_"))
        size, _ = browser.script(LOADED)
        print(f"\nfirst load: {size} bytes, usable after {usable:.0f} ms")
        self.assertLess(usable, 1000, "milliseconds until the page says how the hub does")
        self.assertLess(size, 150_000, "bytes of the first load")
        self.go("overview")
        browser.sees("Nothing: every stream delivers")
        again, _ = browser.script(LOADED)
        self.assertLess(again, 20_000, "what has not changed is not sent again")
        for page in ["overview", "live", "types", "types/new", "streams", "feed", "nodes"]:
            self.go(page)
            self.shown(page)
            _, hosts = browser.script(LOADED)
            self.assertEqual(hosts, [self.hub.url], f"{page} asks nobody else")
        self.assertEqual(browser.errors(), [])

    def test_figures_of_the_last_minutes_are_drawn_and_told(self):
        browser, hub = self.browser, self.hub
        hub.register("t", streams=[self.hook.stream("hook")])
        sender = Sender(hub, lambda n: ("t" if n % 2 else "nobody:knows", n), 40)
        self.addCleanup(sender.stop)
        self.go("overview")
        name = """return [...document.querySelectorAll('.chart')].map(c => `${c.getAttribute('aria-label')}: ${c.getAttribute('aria-valuetext')}`)
            .find(t => t.startsWith(arguments[0]))"""
        told = until("a rate", lambda: (lambda t: t if t and "discarded now 2" in t else None)(browser.script(name, "Events")))
        self.assertRegex(told, r"Events, the last 2 minutes: accepted now (1\d|2\d), at most \d+; discarded now 2\d, at most \d+")
        self.assertRegex(browser.script(name, "Deliveries"), r"delivered now (1\d|2\d), .*failed now 0")
        self.assertRegex(browser.script(name, "Commit latency"), r"median now [\d.]+ ms")
        until("a line", lambda: "L" in browser.script("return document.querySelector('.chart path.a').getAttribute('d')"))

    def read(self):
        """What the first chart says of the moment that is looked at: when, its figures, whether its line is there; and its drawing."""
        return self.browser.script("""const tile = document.querySelector('.tile'), hair = tile.querySelector('.at');
            return [tile.querySelector('.axis span').textContent, tile.querySelector('.legend').innerText,
              hair.getAttribute('visibility') === 'visible' && Number(hair.getAttribute('x1')), tile.querySelector('path.a').getAttribute('d')]""")

    def after_refresh(self, before):
        return until("the next refresh", lambda: (lambda now: now if now[3] != before[3] else None)(self.read()))

    def test_a_moment_that_is_looked_at_stays_so_while_figures_refresh(self):
        browser, hub = self.browser, self.hub
        hub.register("t")
        sender = Sender(hub, lambda n: ("t", n), 20)
        self.addCleanup(sender.stop)
        self.go("overview")
        until("some samples", lambda: self.read()[3].count("L") >= 3)
        self.assertEqual(self.read()[0], "2 min ago")
        box = browser.script("const b = document.querySelector('.chart').getBoundingClientRect(); return [b.left, b.right, b.top]")
        # With a pointer: where it is, whatever comes to be drawn there.
        browser.point(box[1] - 20, box[2] + 40)
        when, legend, x, drawn = seen = until("a moment", lambda: (lambda now: now if now[2] else None)(self.read()))
        self.assertRegex(when, r"^\d\d:\d\d:\d\d$")
        for _ in range(2):
            seen = self.after_refresh(seen)
            self.assertRegex(seen[0], r"^\d\d:\d\d:\d\d$")
            self.assertTrue(seen[2] and abs(seen[2] - x) < 30, f"the line is where the pointer is: {seen[2]} and {x}")
        self.assertNotEqual(seen[0], when, "time has gone on under it")
        browser.point(5, 5)
        until("it to let go", lambda: self.read()[0].endswith("min ago"))
        # With keys: the moment itself, wherever it comes to be drawn.
        browser.script("document.getElementById('theme').focus()")
        until("the chart to have the focus", lambda: browser.press("Tab") or browser.focused().startswith("Events, the last"))
        browser.press("Left", "Left")
        value = "return document.activeElement.getAttribute('aria-valuetext')"
        told = browser.script(value)
        seen = self.read()
        self.assertRegex(told, r"^\d\d:\d\d:\d\d: accepted [\d.]+, discarded 0$")
        self.assertTrue(told.startswith(seen[0]))
        later = self.after_refresh(self.after_refresh(seen))
        self.assertEqual((later[:2], browser.script(value)), (seen[:2], told))
        self.assertLess(later[2], seen[2], "it moves to the left with time")
        browser.press("Right")
        self.assertGreater(browser.script(value), told)
        browser.press("Tab")
        until("it to let go", lambda: self.read()[0].endswith("min ago"))

    def test_figures_of_a_new_hub_are_on_their_way_and_it_says_how_to_begin(self):
        browser = self.browser
        self.go("overview")
        browser.sees("The first figures are on their way", "Nothing has been sent here yet", "none registered")
        browser.click("Register a type to begin")
        browser.sees("Kept for")

    def test_a_stream_that_fails_is_seen_and_its_recovery_too(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hook.status = 500
        hub.register("financial:end-budget", streams=[hook.stream("unpublish", retry={"first": "1s", "max": "1s"})])
        for batch in [range(1000), range(7)]:
            hub.send_many([("financial:end-budget", {"campaign_id": n}) for n in batch])
        self.go("overview")
        browser.sees("Broken", "Stream unpublish of financial:end-budget has failed for", "500", "1,007 events wait, the oldest for")
        browser.click("Open")
        browser.sees("Last failure", "failing", "Attempts", "out of ink")
        hook.status = 200
        until("the stream to recover", lambda: len(hook.bodies) >= 1007)
        browser.sees("active", "delivered", "nothing waits")
        browser.click("Overview")
        browser.sees("Nothing: every stream delivers")

    def test_a_screen_reader_hears_of_trouble_once(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hook.status = 500
        hub.register("t", streams=[hook.stream("hook", retry={"first": "1s", "max": "1s"})])
        hub.send("t", 1)
        self.go("overview")
        browser.sees("Broken")
        until("the word", lambda: browser.script("return document.querySelector('main [role=status]').textContent") == "1 thing needs attention")
        before = browser.script("""
            window.heard_ = [];
            const seen = new MutationObserver(all => all.forEach(m => heard_.push(m.target.textContent)));
            for (const e of document.querySelectorAll('[role=status], [role=alert], [role=log], [aria-live]:not([aria-live=off])'))
              seen.observe(e, { subtree: true, childList: true, characterData: true });
            return document.querySelector('.needs').innerText""")
        until("two refreshes", lambda: browser.script("return document.querySelector('.needs').innerText") != before)
        time.sleep(6)
        self.assertEqual(browser.script("return heard_"), [], "that it still goes on is not said again")

    def test_a_hub_that_does_not_answer_is_told_and_its_return_too(self):
        browser, hub = self.browser, self.hub
        self.go("overview")
        browser.sees("Connected", "Nothing: every stream delivers")
        hub.stop()
        browser.sees("No answer since")
        hub.start()
        browser.sees("Connected", "The hub answers again")


if __name__ == "__main__":
    unittest.main(verbosity=2)
