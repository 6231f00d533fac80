"""A browser, driven over WebDriver (W3C) with the standard library alone."""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--js-flags=--expose-gc",
    "--enable-precise-memory-info",
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Down": "\ue015", "Up": "\ue013", "Left": "\ue012", "Right": "\ue014", "End": "\ue010", "Shift": "\ue008"}
PATIENCE = 45


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(what, look, patience=PATIENCE):
    """Waits until `look` answers something; what it raises meanwhile is no answer."""
    end, last = time.monotonic() + patience, None
    while time.monotonic() < end:
        try:
            found = look()
            if found:
                return found
        except (BrowserError, OSError) as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"waited {patience} s for {what}" + (f": {last}" if last else ""))


class BrowserError(Exception):
    pass


class Browser:
    """Chromium with a profile of its own."""

    def __init__(self):
        self.port = free_port()
        self.profile = tempfile.mkdtemp(prefix="page-")
        self.driver = subprocess.Popen(
            ["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("chromedriver", lambda: self.call("GET", "/status")["ready"])
        options = {"args": FLAGS + [f"--user-data-dir={self.profile}"], "binary": shutil.which("chromium")}
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
                                  "goog:loggingPrefs": {"browser": "ALL"}}}
        self.session = None
        self.session = self.call("POST", "/session", {"capabilities": wanted})["sessionId"]

    def close(self):
        try:
            self.command("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
            shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"},
                                       method=method)
        try:
            with urllib.request.urlopen(asked, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise BrowserError(json.load(error)["value"]["message"]) from None

    def command(self, method, path, body=None):
        return self.call(method, f"/session/{self.session}{path}", body)

    def before_each_page(self, text):
        """Runs a script in each page before the page's own; the way to take it back."""
        found = self.devtools("Page.addScriptToEvaluateOnNewDocument", source=text)["identifier"]
        return lambda: self.devtools("Page.removeScriptToEvaluateOnNewDocument", identifier=found)

    def clipboard(self):
        """What a page has put into the clipboard."""
        origin = self.script("return location.origin")
        self.devtools("Browser.grantPermissions", origin=origin, permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        return self.command("POST", "/execute/async", {
            "script": "const done = arguments[0]; navigator.clipboard.readText().then(done, e => done(String(e)));", "args": []})

    def devtools(self, name, **arguments):
        return self.command("POST", "/goog/cdp/execute", {"cmd": name, "params": arguments})

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def script(self, text, *arguments):
        return self.command("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def size(self, width, height, zoom=1):
        """A window of so many pixels; zoomed, a page has fewer of them and each is larger."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width // zoom, height=height // zoom, deviceScaleFactor=zoom,
                      mobile=width < 500)

    def colours(self, scheme, motion=""):
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme},
                                                              {"name": "prefers-reduced-motion", "value": motion}])

    def picture(self, path):
        with open(path, "wb") as out:
            out.write(base64.b64decode(self.command("GET", "/screenshot")))

    def errors(self):
        """What the console has complained about since it was last asked."""
        lines = self.command("POST", "/se/log", {"type": "browser"})
        # A hub without tokens has no sessions, which is how the page knows.
        return [line["message"] for line in lines if line["level"] == "SEVERE" and "/api/session" not in line["message"]]

    # As a person does: by what is to be seen.

    def text(self):
        """All that is to be read on the page."""
        return self.script("return document.body.innerText")

    def sees(self, *words, patience=PATIENCE):
        for word in words:
            until(f"{word!r} on the page", lambda w=word: w in self.text(), patience)

    def gone(self, word):
        until(f"{word!r} to go", lambda: word not in self.text())

    def find(self, xpath):
        return self.command("POST", "/element", {"using": "xpath", "value": xpath})[ELEMENT]

    def click(self, words, within=""):
        """Clicks the button or link that begins with these words; a dialog, where one is open, hides the rest."""
        def try_it():
            inside = "//dialog[@open]" if self.script("return !!document.querySelector('dialog[open]')") else within
            xpath = f"{inside}//*[self::button or self::a or self::summary][starts-with(normalize-space(.), '{words}')]"
            found = self.find(xpath)
            # From under the bar at the top, as a person would.
            self.script("arguments[0].scrollIntoView({ block: 'center' })", {ELEMENT: found})
            self.command("POST", f"/element/{found}/click", {})
            return True
        until(f"a button {words!r}", try_it)

    def fill(self, label, value, within=""):
        """Types into the field with this label, in place of what is there."""
        def try_it():
            inside = "//dialog[@open]" if self.script("return !!document.querySelector('dialog[open]')") else within
            found = self.find(f"{inside}//*[@id=//label[starts-with(normalize-space(.), '{label}')]/@for]"
                              f"[not(ancestor-or-self::*[@hidden])]")
            tag = self.command("GET", f"/element/{found}/name")
            if tag != "select":
                self.command("POST", f"/element/{found}/clear", {})
            self.command("POST", f"/element/{found}/value", {"text": value})
            return True
        until(f"a field {label!r}", try_it)

    def press(self, *keys):
        """Presses keys one after the other, wherever the focus is."""
        steps = []
        for key in keys:
            key = KEYS.get(key, key)
            steps += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.command("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def point(self, x, y):
        """Moves the mouse there."""
        move = {"type": "pointerMove", "duration": 0, "x": int(x), "y": int(y)}
        self.command("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def focused(self):
        """What has the focus: its name as a screen reader says it, or its words."""
        return self.script("const a = document.activeElement; return (a.getAttribute('aria-label') || a.innerText || a.id || a.tagName).trim()")
