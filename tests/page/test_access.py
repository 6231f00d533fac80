"""Access: a token is asked for, and its scopes decide what is shown."""

import hashlib
import json
import unittest

from base import Page
from driver import until

TOKENS = [
    ("reader", {"scopes": ["feed", "live"]}),
    ("boss", {"scopes": ["send", "register", "feed", "live", "ops"]}),
    ("watcher", {"scopes": ["live"], "types": ["shop:*"]}),
    ("shop", {"scopes": ["feed"], "client": "shop-1", "types": ["shop:*"]}),
    ("registrar", {"scopes": ["register"]}),
    ("sender", {"scopes": ["send"]}),
    ("operator", {"scopes": ["ops"]}),
]
BOSS = {"Authorization": "Bearer boss"}


class Tokens(Page):
    def hub_of(self, **settings):
        tokens = [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **limits} for name, limits in TOKENS]
        return super().hub_of(EVENTS__AUTH__TOKENS=json.dumps(tokens), **settings)

    def setUp(self):
        super().setUp()
        self.hub.register("shop:order", streams=[self.hook.stream("ship")], headers=BOSS)
        self.hub.register("mail:sent", headers=BOSS)

    def send(self, *events):
        self.hub.call("POST", "/api/events/send", [{"type": ty, "payload": payload} for ty, payload in events], BOSS)

    def enter(self, token, page=""):
        self.browser.devtools("Network.clearBrowserCookies")
        self.go(page)
        self.browser.sees("This hub asks for a token")
        self.browser.fill("Access token", token)
        self.browser.click("Sign in")
        self.browser.sees(f"Sign out {token}")
        self.browser.errors()

    def sees_pages(self, *names):
        until(f"the pages {names}", lambda: self.pages() == list(names))

    def pages(self):
        return self.browser.script("return [...document.querySelectorAll('nav a')].map(a => a.innerText)")

    def buttons(self):
        return self.browser.script("return [...document.querySelectorAll('main button, main a.button')].map(a => a.innerText.replaceAll('\\n', ' '))")

    def test_a_token_is_asked_for_and_a_wrong_one_refused(self):
        browser = self.browser
        self.go("")
        browser.sees("This hub asks for a token", "Sign in to see this page")
        browser.press("Escape")
        browser.gone("This hub asks for a token")
        self.sees_pages()
        browser.click("Sign in…")
        browser.fill("Access token", "nobody")
        browser.click("Sign in")
        browser.sees("The hub does not know this token")
        browser.fill("Access token", "reader")
        browser.click("Sign in")
        browser.sees("Live: every type", "Sign out reader")
        self.assertEqual(browser.script("return document.cookie"), "", "scripts cannot read it")
        self.send(("shop:order", "for the reader"))
        browser.sees("for the reader")
        browser.command("POST", "/refresh", {})
        browser.sees("Live: every type", "for the reader")
        browser.click("Sign out")
        browser.sees("This hub asks for a token")
        self.assertNotIn("for the reader", browser.text())
        browser.fill("Access token", "boss")
        browser.click("Sign in")
        browser.sees("What needs attention")
        self.sees_pages("Overview", "Live", "Types", "Streams", "Feed", "Nodes")

    def test_somebody_who_reads_sees_no_more_than_that(self):
        browser = self.browser
        self.enter("reader")
        self.sees_pages("Live", "Feed")
        self.send(("shop:order", "read me"))
        browser.sees("read me")
        browser.press("Tab")
        until("the event", lambda: browser.script("const r = [...document.querySelectorAll('.ev')].find(r => r.innerText.includes('read me')); r?.click(); return !!r"))
        browser.sees("ship", "delivered", "Nobody yet")
        self.assertEqual(browser.script("return document.querySelectorAll('dialog a').length"), 0, "no way to the stream's page")
        self.assertNotIn("Send one like it", browser.text())
        browser.click("Close")
        self.go("streams")
        browser.sees("The token reader is not for this page", "feed, live")
        self.assertEqual(browser.errors(), [], "nothing is asked for that would be refused")

    def test_a_token_for_some_types_and_one_client_sees_those(self):
        browser = self.browser
        self.send(("shop:order", "mine"), ("mail:sent", "another's"))
        self.enter("shop")
        self.sees_pages("Feed")
        browser.sees("mine", "Client shop-1", "1 event")
        self.assertNotIn("another's", browser.text())
        self.assertTrue(browser.script("return document.getElementById('feed-client').readOnly"))
        browser.click("Mark processed")
        browser.sees("Nothing here for this client", "0 events")
        self.enter("watcher")
        self.sees_pages("Live")
        browser.sees("Live: shop:*")
        self.send(("mail:sent", "hidden"), ("shop:order", "seen"))
        browser.sees("seen")
        self.assertNotIn("hidden", browser.text())
        until("the event", lambda: browser.script("const r = [...document.querySelectorAll('.ev')].find(r => r.innerText.includes('seen')); r?.click(); return !!r"))
        browser.sees("What became of it is not for this token")

    def test_somebody_who_registers_sees_types_and_no_figures(self):
        browser = self.browser
        self.enter("registrar")
        self.sees_pages("Types")
        browser.sees("shop:order", "24 days")
        self.assertNotIn("Discarded", browser.text())
        self.assertEqual(set(self.buttons()), {"Register a type", "Edit mail:sent", "Delete mail:sent", "Edit shop:order", "Delete shop:order"})
        browser.click("Delete", "//tr[contains(., 'shop:order')]")
        browser.sees("Its stream ship still delivers what waits for it, and then is gone")
        browser.click("Cancel")
        self.assertEqual(browser.errors(), [], "nothing is asked for that would be refused")

    def test_somebody_who_only_sends_is_told_so(self):
        self.enter("sender")
        self.sees_pages()
        self.browser.sees("The token sender may send over the API, and there is no page for that")

    def test_an_operator_changes_streams_and_registers_nothing(self):
        browser = self.browser
        self.enter("operator")
        browser.sees("What needs attention")
        self.sees_pages("Overview", "Types", "Streams", "Nodes")
        browser.click("Types")
        browser.sees("shop:order", "Discarded")
        self.assertEqual(self.buttons(), [])
        browser.click("Streams")
        browser.sees("ship")
        browser.click("Pause")
        browser.click("Pause ship")
        browser.sees("paused")
        self.assertEqual(browser.errors(), [], "nothing is asked for that would be refused")


if __name__ == "__main__":
    unittest.main(verbosity=2)
