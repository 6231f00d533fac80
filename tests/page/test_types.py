"""Types: registered, edited, tried and deleted."""

import re
import unittest

from base import Page
from driver import until
from world import Sender

WRONG = "return [...document.querySelectorAll('[aria-invalid=true]')].map(i => [i.dataset.at, document.getElementById(i.getAttribute('aria-describedby')).innerText])"


class Types(Page):
    def test_a_type_is_registered_in_a_form_that_shows_errors_at_their_fields(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hub.send("finacial:typo", 1)
        self.go("types")
        browser.sees("No type is registered", "finacial:typo")
        browser.click("Register this")
        until("the name to be there", lambda: browser.script("return document.querySelector('main form input')?.value") == "finacial:typo")
        browser.fill("Kept for", "forever")
        browser.click("Add a stream")
        browser.fill("URI", "ftp://nowhere")
        browser.click("Register", "//main")
        wrong = until("errors", lambda: browser.script(WRONG))
        self.assertEqual([at for at, _ in wrong], ["/ttl", "/streams/0/uri"])
        self.assertTrue(all(words for _, words in wrong), wrong)
        self.assertEqual(browser.script("return document.activeElement.dataset.at"), "/ttl", "the first of them has the focus")
        browser.fill("Kept for", "7days")
        browser.fill("URI", hook.stream("x")["uri"])
        browser.click("Register", "//main")
        browser.sees("Keep these secrets now", "whsec_")
        browser.click("I have them")
        browser.sees("finacial:typo", "7 days")
        browser.click("Send test")
        browser.fill("Payload", "{no json")
        browser.click("Send")
        browser.sees("is not JSON")
        browser.fill("Payload", '{"big": 98765432109876543210}')
        browser.click("Send")
        browser.sees("accepted")
        browser.click("Copy as curl")
        browser.sees("The command is in the clipboard")
        command = browser.clipboard()
        self.assertTrue(command.startswith("curl -X POST") and "98765432109876543210" in command and f"{hub.url}/api/events/send" in command, command)
        browser.click("What became of it")
        browser.sees("98765432109876543210", "Marked processed by")
        browser.click("Close")
        until("the delivery", lambda: hook.bodies)
        before = hub.call("GET", "/api/events/register/finacial:typo")["streams"]
        browser.click("Edit")
        browser.fill("Kept for", "9days")
        browser.click("Replace the registration")
        browser.sees("9 days")
        self.assertEqual(hub.call("GET", "/api/events/register/finacial:typo")["streams"], before, "untouched")
        browser.click("Delete")
        browser.sees("Delete the type finacial:typo?", "still delivers the 0 events that wait for it")
        browser.click("Cancel")
        browser.click("Delete")
        browser.click("Delete finacial:typo")
        browser.sees("No type is registered")

    def test_errors_deep_in_a_stream_open_what_hides_their_fields(self):
        browser = self.browser
        self.go("types/new")
        browser.fill("Type", "deep:down")
        browser.fill("Kept for", "1h")
        browser.click("Add a stream")
        browser.fill("URI", "http://127.0.0.1:9/x")
        browser.click("Name, mailbox")
        browser.fill("Mailbox", "0")
        browser.fill("First retry after", "soon")
        browser.fill("Headers", "{nothing")
        browser.click("Name, mailbox")
        browser.click("Register", "//main")
        until("what is no JSON", lambda: [at for at, _ in browser.script(WRONG)] == ["/streams/0/headers"])
        browser.fill("Headers", "")
        browser.click("Register", "//main")
        until("what the hub says", lambda: sorted(at for at, _ in browser.script(WRONG)) == ["/streams/0/mailbox", "/streams/0/retry/first"])
        self.assertTrue(browser.script("return document.querySelector('details').open"))

    def test_a_stream_to_rabbitmq_has_its_own_fields(self):
        browser, hub = self.browser, self.hub
        self.go("types/new/to:rabbit")
        browser.fill("Kept for", "1day")
        browser.click("Add a stream")
        browser.fill("Source", "rabbit")
        browser.gone("URI")
        browser.click("Register", "//main")
        until("what is missing", lambda: sorted(at for at, _ in browser.script(WRONG)) == ["/streams/0/exchange", "/streams/0/routingKey"])
        browser.fill("Exchange", "campaigns")
        browser.fill("Routing key", "end-budget")
        browser.click("Register", "//main")
        browser.sees("to:rabbit is registered", "1 day")
        stream = hub.call("GET", "/api/events/register/to:rabbit")["streams"][0]
        self.assertEqual((stream["source"], stream["exchange"], stream["routingKey"]), ("rabbit", "campaigns", "end-budget"))

    def test_what_a_registration_takes_away_is_asked_about_first(self):
        browser, hub, hook = self.browser, self.hub, self.hook
        hub.register("a:b", "7days", [hook.stream("keeps"), hook.stream("goes")])
        hub.call("PATCH", "/api/events/streams/a:b/goes", {"state": "paused"})
        hub.send_many([("a:b", n) for n in range(12)])
        self.go("types/edit/a%3Ab")
        browser.sees("Edit a:b")
        browser.fill("Kept for", "1h")
        browser.click("Take this stream away", "//fieldset[legend='goes']")
        browser.click("Replace the registration")
        browser.sees("Replace the registration of a:b?", "Stream goes is no longer in it", "delivers the 12 events that wait for it",
                     "kept for 1 h instead of 7 days: of the 12 stored events, those that are older are hidden at once")
        browser.click("Cancel")
        self.assertEqual(hub.call("GET", "/api/events/register/a:b")["ttl"], "7days")
        # And so is a new one with a name that is taken.
        self.go("types/new/a%3Ab")
        browser.fill("Kept for", "permanent")
        browser.click("Register", "//main")
        browser.sees("a:b is registered already, kept for 7 days, with 2 streams")
        browser.click("Cancel")
        browser.click("Register", "//main")
        browser.click("Replace a:b")
        browser.sees("permanent", "a:b is registered")
        self.assertEqual(hub.call("GET", "/api/events/register/a:b")["streams"], [])

    def test_rates_are_told_and_types_found(self):
        browser, hub = self.browser, self.hub
        for name in ["busy:one", "quiet:one"]:
            hub.register(name)
        sender = Sender(hub, lambda n: ("busy:one", n), 50)
        self.addCleanup(sender.stop)
        self.go("types")
        until("a rate", lambda: re.search(r"\b(4|5)\d\b", self.row("busy:one")))
        self.assertNotIn("NaN", browser.text())
        until("no rate", lambda: re.search(r"24 days\s+0\s+0\s", self.row("quiet:one")))
        browser.script("const f = document.querySelector('.finder'); f.value = 'quiet'; f.oninput()")
        browser.gone("busy:one")
        browser.sees("quiet:one")


if __name__ == "__main__":
    unittest.main(verbosity=2)
