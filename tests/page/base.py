"""What every test of a page begins with: a browser, a hub, a webhook."""

import unittest

from driver import Browser, until
from world import ROOT, Hub, Webhook

PICTURES = ROOT / "target/screenshots"
PICTURES.mkdir(parents=True, exist_ok=True)


class Page(unittest.TestCase):
    """One browser for all; a hub for each test."""

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.hub = self.hub_of()
        self.hook = Webhook()
        self.browser.size(1380, 900)
        # Ports of one host share them.
        self.browser.devtools("Network.clearBrowserCookies")
        self.browser.errors()

    def hub_of(self, **settings):
        hub = Hub(**settings)
        self.addCleanup(hub.close)
        return hub

    def tearDown(self):
        self.browser.open("about:blank")
        self.hook.close()

    def go(self, page, hub=None):
        self.browser.open("about:blank")
        self.browser.open(f"{(hub or self.hub).url}/#/{page}")

    def shown(self, page):
        """Waits until a page has read what it shows."""
        until(f"the page {page}", lambda: self.browser.script(
            "return !!document.querySelector('main h1') && !document.body.innerText.includes('Reading…')"))

    def row(self, words):
        """The words of the row that holds these."""
        return self.browser.script(
            "return [...document.querySelectorAll('tbody tr')].map(r => r.innerText).find(t => t.includes(arguments[0])) || ''",
            words)
