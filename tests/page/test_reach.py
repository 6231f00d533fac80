"""Reach: keyboard alone, screen reader, contrast, phone; and what axe-core finds, which is to be nothing."""

import unittest

from base import PICTURES, Page
from driver import until
from world import ROOT

AXE = next((ROOT / "target/tools").glob("axe-core-*.min.js"), None)
PAGES = ["overview", "live", "types", "types/new", "types/edit/s%3Ar", "streams", "streams/s%3Ar/hook", "feed", "nodes"]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FOUND = """const done = arguments[1]; axe.run(document, { runOnly: { type: 'tag', values: arguments[0] }, resultTypes: ['violations'] })
.then(r => done(r.violations.flatMap(v => v.nodes.map(n => `${v.id}: ${n.target.join(' ')}: ${n.failureSummary.replaceAll('\\n', ' ')}`))), e => done([String(e)]));"""


class Reach(Page):
    def something_of_everything(self):
        """A stream that fails, one that is paused with dead letters, a discarded type, events."""
        hub, hook = self.hub, self.hook
        hook.status = 500
        hub.register("s:r", streams=[hook.stream("hook", retry={"attempts": 1})])
        hub.register("c:d", streams=[hook.stream("bad", retry={"first": "1s", "max": "1s"})])
        hub.register("c:e", streams=[hook.stream("held")])
        hub.call("PATCH", "/api/events/streams/c:e/held", {"state": "paused"})
        hub.send_many([("s:r", {"a": 1}), ("c:d", 1), ("c:e", 2), ("c:f", 3)])
        until("a dead letter", lambda: hub.call("GET", "/api/events/streams/s:r/hook")["dead"] == 1)

    def axe(self, where):
        browser = self.browser
        browser.script(AXE.read_text())
        found = browser.command("POST", "/execute/async", {"script": FOUND, "args": [RULES]})
        self.assertEqual(found, [], where)

    def test_axe_finds_nothing_on_any_page_in_light_and_dark(self):
        self.assertIsNotNone(AXE, "scripts/axe.sh has fetched it")
        browser = self.browser
        self.something_of_everything()
        self.addCleanup(browser.colours, "light")
        for scheme in ["light", "dark"]:
            browser.colours(scheme)
            for size in [(1380, 900), (390, 844)]:
                browser.size(*size)
                for page in PAGES:
                    with self.subTest(scheme=scheme, page=page, size=size):
                        self.go(page)
                        self.shown(page)
                        if page == "live":
                            browser.sees("c:e")
                        self.axe(page)

    def test_axe_finds_nothing_in_dialogs_and_forms_with_errors(self):
        browser = self.browser
        self.something_of_everything()
        self.addCleanup(browser.colours, "light")
        dead = self.hub.call("GET", "/api/events/streams/s:r/hook/dead")["dead"][0]["event"]["id"]
        for scheme in ["light", "dark"]:
            browser.colours(scheme)
            self.go("overview")
            browser.sees("Broken")
            browser.press("?")
            browser.sees("Keyboard shortcuts")
            self.axe("shortcuts")
            browser.press("Escape")
            browser.press("e")
            browser.fill("Event id", dead)
            self.axe("find")
            browser.press("Enter")
            browser.sees("What happened")
            self.axe("event")
            browser.click("Send one like it")
            browser.fill("Payload", "{")
            browser.click("Send")
            browser.sees("is not JSON")
            self.axe("test event")
            self.go("streams/s%3Ar/hook")
            browser.click("Delete all")
            browser.sees("will never be delivered")
            self.axe("question")
            self.go("types/new")
            browser.click("Add a stream")
            browser.click("Name, mailbox")
            browser.click("Register", "//main")
            until("errors", lambda: browser.script("return document.querySelectorAll('[aria-invalid=true]').length") > 1)
            self.axe("form")

    def test_everything_is_reached_with_the_keyboard(self):
        browser, hub = self.browser, self.hub
        hub.register("k")
        hub.send("k", "by hand")
        self.go("overview")
        browser.sees("What needs attention")
        browser.press("Tab")
        self.assertEqual(browser.focused(), "Skip to content")
        outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle")
        self.assertNotEqual(outline, "none")
        browser.press("Enter")
        self.assertEqual(browser.script("return document.activeElement.id"), "main")
        browser.press("?")
        browser.sees("Keyboard shortcuts")
        browser.press("Escape")
        browser.gone("Keyboard shortcuts")
        browser.press("g", "l")
        browser.sees("Live: every type", "by hand")
        browser.press("/")
        self.assertEqual(browser.script("return document.activeElement.id"), "live-types")
        until("the list", lambda: browser.press("Tab") or browser.focused() == "Events, newest first")
        browser.press("Down")
        until("a chosen row", lambda: browser.script("return document.querySelectorAll('.ev[aria-selected=true]').length") == 1)
        browser.press("Enter")
        browser.sees("Marked processed by")
        browser.press("Escape")
        until("the focus to come back", lambda: browser.focused() == "Events, newest first")
        browser.press("p")
        browser.sees("Go on")
        before = browser.script("return document.documentElement.dataset.theme")
        browser.press("d")
        self.assertNotEqual(browser.script("return document.documentElement.dataset.theme"), before)
        browser.script("localStorage.removeItem('theme')")

    def test_the_focus_goes_through_each_page_in_order_and_is_always_seen(self):
        browser = self.browser
        self.something_of_everything()
        for page in PAGES:
            with self.subTest(page=page):
                self.go(page)
                self.shown(page)
                browser.script("document.activeElement.blur(); scrollTo(0, 0)")
                wanted = browser.script("""return [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
                    .filter(e => !e.disabled && e.checkVisibility({ visibilityProperty: true })).length""")
                seen = []
                for _ in range(min(wanted, 60)):
                    browser.press("Tab")
                    seen.append(browser.script("""const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect();
                        window.n_ = (e.n_ ??= (window.n_ || 0) + 1);
                        return [e.tagName, e.innerText || e.id, s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2, b.width > 0 && b.top < innerHeight && (e.closest('.bar, .skip') || b.bottom > document.querySelector('.bar').getBoundingClientRect().bottom)]"""))
                unseen = [e for e in seen if e[0] != "BODY" and not (e[2] and e[3])]
                self.assertEqual(unseen, [], "an outline, on the screen")
                self.assertGreater(len(seen), 8)

    def test_a_dialog_keeps_the_focus_and_gives_it_back(self):
        browser = self.browser
        self.something_of_everything()
        self.go("streams/s%3Ar/hook")
        browser.sees("Dead letters (1)")
        opener = "[...document.querySelectorAll('button')].find(b => b.textContent.startsWith('Delete all'))"
        browser.script(f"{opener}.focus()")
        browser.press("Enter")
        browser.sees("will never be delivered to hook")
        self.assertEqual(browser.focused(), "Cancel", "what does no harm is at hand")
        for _ in range(8):
            browser.press("Tab")
            where = browser.script("const e = document.activeElement; return e === document.body || !!e.closest('dialog')")
            self.assertTrue(where, "nothing behind it has the focus")
        browser.press("Escape")
        browser.gone("will never be delivered to hook")
        until("the focus back", lambda: browser.script(f"return document.activeElement === {opener}"))
        browser.press("Enter")
        browser.sees("will never be delivered to hook")
        browser.press("Tab")
        browser.press("Enter")
        browser.sees("Dead letters (0)")
        self.assertEqual(browser.script("return document.activeElement.id"), "main", "its button is gone")

    def test_a_screen_reader_finds_its_way(self):
        browser = self.browser
        self.something_of_everything()
        for page in PAGES:
            with self.subTest(page=page):
                self.go(page)
                self.shown(page)
                tree = browser.devtools("Accessibility.getFullAXTree")["nodes"]
                name = lambda node: node.get("name", {}).get("value", "")
                roles = {}
                for node in tree:
                    if not node.get("ignored"):
                        roles.setdefault(node["role"]["value"], []).append(node)
                for role in ["banner", "navigation", "main"]:
                    self.assertEqual(len(roles[role]), 1, role)
                unnamed = [role for role in ["button", "link", "textbox", "combobox", "listbox", "img", "meter", "table", "searchbox"]
                           for node in roles.get(role, []) if not name(node).strip()]
                self.assertEqual(unnamed, [], "everything has a name")
                self.assertEqual(sum(node["role"]["value"] == "heading" and any(
                    p["name"] == "level" and p["value"]["value"] == 1 for p in node.get("properties", [])) for node in tree
                    if not node.get("ignored")), 1, "one first heading")

    def test_it_fits_from_phone_to_wide_and_zoomed(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        self.something_of_everything()
        long = "financial:end-budget-of-a-campaign." + "x" * 200
        hub.register(long, streams=[hook.stream("a-stream-with-a-long-name-" + "y" * 60)])
        hub.send(long, {"text": "long " * 80})
        # A phone, a laptop zoomed to 200 and to 400 per cent, half a screen, a wide one.
        for size in [(360, 740), (1380, 900, 2), (1280, 1024, 4), (920, 700), (1600, 1000)]:
            browser.size(*size)
            for page in PAGES:
                with self.subTest(page=page, size=size):
                    self.go(page)
                    self.shown(page)
                    browser.picture(PICTURES / f"reach-{size[0]}-{page.replace('/', '-').replace('%3A', '-')}.png")
                    self.assertLessEqual(browser.script("return document.documentElement.scrollWidth - innerWidth"), 0)
                    beyond = browser.script("""return [...document.querySelectorAll('main button, main input, main a')]
                        .filter(e => e.checkVisibility() && !e.closest('.hide') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.innerText || e.id)""")
                    self.assertEqual(beyond, [], "nothing is beyond the edge")
                    self.assertEqual(browser.script("""return [...document.querySelectorAll('main .scroll')].filter(e => e.scrollWidth > e.clientWidth)
                        .map(e => e.getAttribute('aria-label'))"""), [], "no table is wider than the page")

    def test_nothing_moves_for_somebody_who_wants_less_motion(self):
        browser = self.browser
        self.addCleanup(browser.colours, "light")
        moves = """return [...document.querySelectorAll('*')].filter(e => { const s = getComputedStyle(e);
            return s.animationName !== 'none' || s.transitionDuration.split(', ').some(t => parseFloat(t)) || s.scrollBehavior === 'smooth'; }).length"""
        for motion, some in [("no-preference", True), ("reduce", False)]:
            browser.colours("light", motion)
            self.go("types")
            browser.sees("No type is registered")
            browser.press("?")
            browser.sees("Keyboard shortcuts")
            self.assertEqual(browser.script(moves) > 0, some, motion)


if __name__ == "__main__":
    unittest.main(verbosity=2)
