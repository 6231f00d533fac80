"""Live at a thousand events a second, for a minute."""

import time
import unittest

from base import Page
from driver import until
from world import Sender

SECONDS = 60
WATCH = """
window.frames_ = 0; window.long_ = 0; window.longest_ = 0; window.gap_ = 0; let before = performance.now();
const frame = now => { frames_++; gap_ = Math.max(gap_, now - before); before = now; requestAnimationFrame(frame); };
requestAnimationFrame(frame);
new PerformanceObserver(list => { for (const e of list.getEntries()) { long_ += e.duration; longest_ = Math.max(longest_, e.duration); } }).observe({ entryTypes: ['longtask'] });
"""
LOOK = """gc(); return { heap: performance.memory.usedJSHeapSize, nodes: document.getElementsByTagName('*').length,
    frames: frames_, long: long_, longest: longest_, gap: gap_, now: performance.now(), height: parseInt(document.querySelector('.list .space').style.height) }"""


class Load(Page):
    def test_a_thousand_events_a_second_neither_freeze_the_page_nor_grow_it(self):
        browser, hub = self.browser, self.hub
        hub.register("load:t", ttl="1h")
        self.go("live")
        browser.sees("Live: every type")
        browser.script(WATCH)
        sender = Sender(hub, lambda n: ("load:t", {"n": n, "text": "x" * 120}), 1000)
        until("the ring to be full", lambda: browser.script(LOOK)["height"] >= 5000 * 32)
        looks, began = [browser.script(LOOK)], sender.sent
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(5)
            looks.append(browser.script(LOOK))
        count = sender.sent - began
        browser.click("Pause")
        browser.sees("wait")
        browser.click("Go on")
        sender.stop()
        self.assertIsNone(sender.failed)
        first, last = looks[0], looks[-1]
        seconds = (last["now"] - first["now"]) / 1000
        frames, busy = (last["frames"] - first["frames"]) / seconds, (last["long"] - first["long"]) / seconds
        heaps = [look["heap"] / 1e6 for look in looks]
        print(f"\n{count / seconds:.0f} events/s for {seconds:.0f} s: {frames:.0f} frames/s, longest gap of frames {last['gap']:.0f} ms, "
              f"longest task {last['longest']:.0f} ms, long tasks {busy:.0f} ms/s, heap {heaps[0]:.1f} -> {heaps[-1]:.1f} MB (most {max(heaps):.1f}), "
              f"elements {first['nodes']} -> {last['nodes']}")
        self.assertGreater(count / seconds, 900, "as many were sent")
        self.assertGreater(frames, 10)
        self.assertLess(last["gap"], 1000, "milliseconds without a frame")
        self.assertLess(last["longest"], 500)
        self.assertLess(busy, 400)
        # What is kept has its bound from the first look on: later halves hold no more than earlier ones.
        half = len(heaps) // 2
        self.assertLess(min(heaps[half:]), min(heaps[:half]) + 2)
        self.assertLess(max(heaps), 40)
        self.assertLess(last["nodes"], 500)
        self.assertLessEqual(last["height"], 5500 * 32)

    def test_going_from_page_to_page_leaves_nothing_behind(self):
        browser, hub = self.browser, self.hub
        hub.register("a:b", streams=[self.hook.stream("hook")])
        hub.send_many([("a:b", n) for n in range(50)])
        self.go("overview")
        browser.sees("What needs attention")
        pages = ["live", "types", "types/new", "streams", "streams/a%3Ab/hook", "feed", "nodes", "overview"]

        def round_trip():
            for page in pages:
                browser.script("location.hash = arguments[0]", f"#/{page}")
                until(f"the page {page}", lambda: browser.script(
                    "return document.getElementById('page')?.className === arguments[0]", page.split("/")[0]))
                self.shown(page)

        def counted():
            browser.script("gc()")
            found = browser.devtools("Memory.getDOMCounters")
            return found["nodes"], found["jsEventListeners"]
        for _ in range(3):
            round_trip()
        nodes, listeners = counted()
        for _ in range(10):
            round_trip()
        after, heard = counted()
        print(f"\nten times through all pages: {nodes} -> {after} nodes, {listeners} -> {heard} listeners")
        self.assertLess(after, nodes + 500)
        self.assertLess(heard, listeners + 50)
        until("no session to be left", lambda: hub.call("GET", "/api/events/overview")["now"]["sessions"] == 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
