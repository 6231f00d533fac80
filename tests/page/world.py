"""What a page needs around it: a hub of its own, a webhook that can fail, somebody who sends."""

import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from driver import free_port, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
HUB = os.environ.get("HUB_BINARY", str(ROOT / "target/debug/event-source-api"))


class Redis:
    """A Redis of its own, which keeps nothing on disk unless the settings say so."""

    def __init__(self, **settings):
        self.folder = tempfile.TemporaryDirectory(prefix="page-redis-")
        self.port = free_port()
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder.name, "--save", ""]
        for name, value in settings.items():
            words += [f"--{name.replace('_', '-')}", value]
        self.process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        until("Redis to listen", lambda: not socket.create_connection(("127.0.0.1", self.port), 1).close())

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def say(self, words):
        """Sends it a command and answers the first line of its answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as line:
            line.sendall(f"{words}\r\n".encode())
            return line.makefile().readline().strip()

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()


class Hub:
    """
    A hub, with the embedded store in a temporary folder unless told otherwise, which outlives restarts. `file` is what
    its settings file says.
    """

    def __init__(self, file=None, **settings):
        self.folder = tempfile.TemporaryDirectory(prefix="page-hub-")
        self.file = None
        if file is not None:
            self.file = pathlib.Path(self.folder.name, "hub.toml")
            self.file.write_text(file)
        self.port = free_port()
        self.settings = settings
        self.process = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        env = dict(os.environ, EVENTS__HTTP__BIND=f"127.0.0.1:{self.port}", RUST_LOG="warn", EVENTS__HTTP__SHUTDOWN="1s",
                   **{"EVENTS__STORE__URL": f"embedded:{self.folder.name}/data", **self.settings})
        self.log = open(f"{self.folder.name}/log", "ab")
        words = [HUB, "--config", str(self.file)] if self.file else [HUB]
        self.process = subprocess.Popen(words, env=env, stdout=self.log, stderr=self.log)
        until("the hub to be ready", lambda: self.call("GET", "/readyz") is not None)

    def reload(self, file):
        """Has it read this settings file in place of the one before."""
        self.file.write_text(file)
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()

    def close(self):
        self.stop()
        self.folder.cleanup()

    def call(self, method, path, body=None, headers=None):
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **(headers or {})},
                                       method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            text = answer.read()
            return json.loads(text) if text else {}

    def register(self, name, ttl="24days", streams=(), headers=None):
        body = {"type": name, "ttl": ttl, "streams": list(streams)}
        return self.call("PUT", "/api/events/register", body, headers)

    def send(self, name, payload):
        return self.call("POST", "/api/events/send", {"type": name, "payload": payload})

    def send_many(self, events):
        return self.call("POST", "/api/events/send", [{"type": ty, "payload": payload} for ty, payload in events])


class Webhook:
    """A receiver that answers what it is told to."""

    def __init__(self):
        self.status, self.bodies, self.answer = 200, [], b"out of ink"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.status
                if status == 200:
                    outer.bodies.append(json.loads(body))
                answer = b"" if status == 200 else outer.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stream(self, name, **more):
        uri = f"http://127.0.0.1:{self.server.server_port}/{name}"
        return {"source": "webhook", "name": name, "uri": uri, **more}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Sender:
    """Sends batches at a rate (or as many after so many seconds as a function says), from a thread, until it is stopped."""

    def __init__(self, hub, event, rate, step=0.1):
        self.sent, self.over = 0, threading.Event()
        self.failed = None

        def work():
            began, due = time.monotonic(), 0
            while not self.over.wait(step):
                # By the clock, so that a slow answer does not lower the rate.
                seconds = time.monotonic() - began
                due = int(rate(seconds) if callable(rate) else seconds * rate)
                batch = [event(n) for n in range(self.sent, min(due, self.sent + 1000))]
                if not batch:
                    continue
                try:
                    hub.send_many(batch)
                    self.sent += len(batch)
                except (OSError, urllib.error.HTTPError) as error:
                    self.failed = error

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def stop(self):
        self.over.set()
        self.thread.join()
        return self.sent
