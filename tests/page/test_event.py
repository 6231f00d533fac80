"""One event: found by its id, its attempts in a row, sent again, copied."""

import unittest

from base import Page
from driver import until


class Event(Page):
    def test_an_event_is_found_and_its_attempts_told(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hook.status = 500
        hub.register("a:b", streams=[hook.stream("hook", retry={"attempts": 2, "first": "1s", "max": "1s"})])
        sent = hub.send("a:b", {"n": 12345678901234567890123})
        until("a dead letter", lambda: hub.call("GET", "/api/events/streams/a:b/hook")["dead"] == 1)
        self.go("overview")
        browser.sees("What needs attention")
        browser.press("e")
        browser.fill("Event id", "no id")
        browser.click("Find")
        self.assertTrue(browser.script("return document.querySelector('dialog input:invalid') !== null"))
        browser.fill("Event id", sent["id"])
        browser.press("Enter")
        browser.sees("12345678901234567890123", "What happened", "stored", "dead", "out of ink", "Nobody yet")
        attempts = browser.script("return [...document.querySelectorAll('.timeline li')].map(l => l.className)")
        self.assertEqual(len(attempts), 3, attempts)
        hub.call("PUT", f"/api/events/{sent['id']}/ok/ada")
        browser.sees("ada")
        hook.status = 200
        browser.click("Send again")
        browser.sees("It is due again for hook", "delivered")
        until("the delivery", lambda: [body["id"] for body in hook.bodies] == [sent["id"]])
        browser.click("Copy payload")
        browser.sees("The payload is in the clipboard")
        self.assertEqual(browser.clipboard(), '{\n  "n": 12345678901234567890123\n}')
        browser.click("Send one like it")
        browser.sees("Send a test event of a:b")
        browser.click("Send")
        browser.sees("accepted")
        until("its like", lambda: len(hook.bodies) == 2)
        browser.press("Escape")
        browser.gone("Send a test event")

    def test_an_event_that_is_not_there_is_told(self):
        browser = self.browser
        self.go("feed")
        browser.click("Find an event")
        browser.fill("Event id", "12345")
        browser.click("Find")
        browser.sees("The hub does not keep this event")


if __name__ == "__main__":
    unittest.main(verbosity=2)
