"""Access: a token is asked for, and its scopes decide what is shown."""

import hashlib
import json
import unittest
import urllib.error

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
# Known only once another is not any more.
LATER = [("heir", {"scopes": ["send", "register", "feed", "live", "ops"]})]
BOSS = {"Authorization": "Bearer boss"}


def file_of(*names):
    """Settings that know these tokens."""
    tables = [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **limits} for name, limits in [*TOKENS, *LATER]
              if name in names]
    lines = [[f"{key} = {json.dumps(value)}" for key, value in table.items()] for table in tables]
    return "".join("[[auth.tokens]]\n" + "\n".join(table) + "\n" for table in lines)


class Withdrawn(Page):
    """A token is withdrawn while somebody looks."""

    def hub_of(self, **settings):
        return super().hub_of(file=file_of("boss", "sender"), **settings)

    def setUp(self):
        super().setUp()
        self.hub.register("shop:order", streams=[self.hook.stream("ship")], headers=BOSS)

    def send(self, payload):
        self.hub.call("POST", "/api/events/send", {"type": "shop:order", "payload": payload}, {"Authorization": "Bearer sender"})

    def enter(self, page):
        self.go(page)
        self.browser.fill("Access token", "boss")
        self.browser.click("Sign in")
        self.browser.sees("Sign out boss")
        self.browser.errors()

    def sign_in(self, token):
        self.browser.fill("Access token", token)
        self.browser.click("Sign in")

    def test_live_asks_to_sign_in_again_and_goes_on_from_its_last_event(self):
        browser, hub = self.browser, self.hub
        self.enter("live")
        browser.sees("Live: every type")
        self.send("before")
        browser.sees("before")
        browser.fill("Text", "e")
        hub.reload(file_of("heir", "sender"))
        browser.sees("Sign in again", "The hub no longer takes the token boss: it was withdrawn.")
        self.send("meanwhile")
        self.sign_in("boss")
        browser.sees("The hub does not know this token")
        self.sign_in("heir")
        browser.sees("Sign out heir", "meanwhile", "caught up 1 event", "Live: every type")
        self.send("thereafter")
        browser.sees("thereafter", "before")
        self.assertEqual(browser.script("return document.getElementById('live-text').value"), "e", "as it was left")
        self.assertNotIn("Sign in again", browser.text())

    def test_figures_say_so_and_go_on_and_what_was_typed_stays(self):
        browser, hub = self.browser, self.hub
        self.enter("streams/shop%3Aorder/ship")
        browser.sees("Attempts")
        browser.fill("Mailbox", "77")
        hub.reload(file_of("heir", "sender"))
        browser.sees("The hub no longer takes the token boss: it was withdrawn, or a session's 12 hours are over")
        covered = browser.script("return getComputedStyle(document.querySelector('dialog[open]'), '::backdrop').backgroundColor")
        self.assertNotIn("rgba", covered, "nothing is to be seen behind it")
        asked = "return performance.getEntriesByType('resource').length"
        before = browser.script(asked)
        self.sign_in("heir")
        browser.sees("Sign out heir")
        until("figures", lambda: browser.script(asked) > before + 3)
        browser.click("Tune")
        browser.sees("/ 77")
        self.assertEqual(hub.call("GET", "/api/events/streams/shop:order/ship", headers={"Authorization": "Bearer heir"})["mailbox"]["limit"], 77)

    def test_a_form_that_is_sent_too_late_is_there_to_be_sent_again(self):
        browser, hub = self.browser, self.hub
        self.enter("types/new")
        browser.fill("Type", "shop:refund")
        browser.fill("Kept for", "7days")
        hub.reload(file_of("heir", "sender"))
        until("the token to be gone", lambda: self.refused("boss"))
        browser.click("Register", "//main")
        browser.sees("Sign in again")
        self.sign_in("heir")
        browser.sees("Sign out heir")
        browser.click("Register", "//main")
        browser.sees("shop:refund is registered", "7 days")

    def test_one_with_other_rights_sees_what_those_allow(self):
        browser, hub = self.browser, self.hub
        self.enter("streams")
        browser.sees("ship")
        browser.press("?")
        browser.sees("Keyboard shortcuts")
        hub.reload(file_of("reader", "sender"))
        browser.sees("Sign in again")
        self.sign_in("reader")
        browser.sees("The token reader is not for this page")
        self.assertNotIn("Keyboard shortcuts", browser.text())
        hub.reload(file_of("sender", "heir"))
        browser.click("Live")
        browser.sees("Sign in again")
        browser.press("Escape")
        browser.sees("Sign in to see this page", "The hub no longer takes the token reader")
        self.assertEqual(browser.script("return document.querySelectorAll('nav a').length"), 0)
        browser.click("Sign in…")
        self.sign_in("heir")
        browser.sees("Live: every type", "Sign out heir")

    def refused(self, token):
        try:
            self.hub.call("GET", "/api/events/streams", headers={"Authorization": f"Bearer {token}"})
        except urllib.error.HTTPError as error:
            return error.code == 401
        return False


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
