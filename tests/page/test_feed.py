"""Feed: slice by slice, as a client."""

import unittest

from base import Page


class Feed(Page):
    def test_a_feed_is_browsed_as_a_client_and_marked(self):
        browser, hub = self.browser, self.hub
        hub.register("f")
        hub.send_many([("f", {"n": n}) for n in range(3)])
        self.go("feed")
        browser.sees('{"n":2}', "Hour from")
        browser.click("← Before")
        browser.sees("No event in this slice")
        browser.click("After →")
        browser.sees('{"n":0}')
        browser.click("Copy as curl")
        browser.sees("The command is in the clipboard")
        command = browser.clipboard()
        self.assertTrue(command.startswith("curl 'http://") and "/api/events/feed/hour/20" in command, command)
        browser.fill("As client", "ada")
        browser.click("Show")
        browser.sees("Client ada", "3 events")
        browser.click("Mark processed")
        browser.sees("2 events")
        browser.gone('{"n":2}')
        browser.fill("Show", "processed")
        browser.sees('{"n":2}', "Take back")
        browser.click("Take back")
        browser.sees("3 events", "Nothing here for this client")


if __name__ == "__main__":
    unittest.main(verbosity=2)
