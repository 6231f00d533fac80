"""Nodes and store: who is up, and what Redis should be set to."""

import unittest

from base import Page
from driver import until
from world import Redis


class Nodes(Page):
    def test_nodes_and_the_store_are_shown(self):
        browser = self.browser
        self.go("nodes")
        browser.sees("1 hub on this store", "this one", "running", "embedded", "Free on the disk")

    def redis(self, **settings):
        redis = Redis(**settings)
        self.addCleanup(redis.close)
        return redis

    def test_hubs_on_one_redis_are_shown_and_one_that_goes_disappears(self):
        browser = self.browser
        redis = self.redis(appendonly="yes", appendfsync="always", maxmemory_policy="noeviction")
        hubs = [self.hub_of(EVENTS__STORE__URL=redis.url) for _ in range(3)]
        hubs[0].register("a:b")
        hubs[0].send_many([("a:b", "x" * 700) for _ in range(1000)])
        self.go("nodes", hubs[1])
        browser.sees("3 hubs on this store", f"Redis 127.0.0.1:{redis.port}", "It keeps what a 202 promises", "No maxmemory")
        rows = browser.script("return [...document.querySelectorAll('tbody tr')].map(r => r.innerText)")
        self.assertEqual([f":{hub.port}" in row for hub, row in zip(hubs, rows)], [True] * 3, "the oldest first")
        self.assertEqual(["this one" in row for row in rows], [False, True, False])
        memory = browser.script("return [...document.querySelectorAll('.facts div')].find(d => d.innerText.startsWith('Memory')).innerText")
        self.assertRegex(memory, r"\d+(\.\d)? MiB")
        self.go("overview", hubs[1])
        browser.sees("one of 3 hubs", "Nothing: every stream delivers")
        self.go("nodes", hubs[1])
        browser.sees("3 hubs")
        hubs[2].stop()
        browser.sees("2 hubs on this store")
        self.assertNotIn(f":{hubs[2].port}", browser.text())
        hubs[2].start()
        browser.sees("3 hubs on this store")

    def test_what_redis_should_be_set_to_is_told_where_it_is_seen(self):
        browser = self.browser
        redis = self.redis(appendonly="no", maxmemory="64mb", maxmemory_policy="allkeys-lru")
        hub = self.hub_of(EVENTS__STORE__URL=redis.url)
        self.go("nodes", hub)
        browser.sees("appendonly no", "a restart of Redis loses events", "maxmemory-policy allkeys-lru", "of 64 MiB")
        self.assertEqual(browser.script("return document.querySelector('section meter').max"), 64 * 1024 * 1024)
        self.go("overview", hub)
        browser.sees("has appendonly no: a restart of Redis loses events")
        browser.click("Open")
        browser.sees("Nodes and store")

    def test_a_redis_that_is_nearly_full_needs_attention(self):
        redis = self.redis(appendonly="yes", appendfsync="always", maxmemory_policy="noeviction")
        hub = self.hub_of(EVENTS__STORE__URL=redis.url)
        used = hub.call("GET", "/api/events/store")["servers"][0]["memory_used"]
        self.assertEqual(redis.say(f"CONFIG SET maxmemory {used * 11 // 10}"), "+OK")
        self.go("overview", hub)
        self.browser.sees(f"Redis 127.0.0.1:{redis.port} takes", "of at most", "at the limit sends are refused")

    def test_a_redis_that_is_away_is_told(self):
        browser = self.browser
        redis = self.redis(appendonly="yes")
        hub = self.hub_of(EVENTS__STORE__URL=redis.url)
        self.go("overview", hub)
        browser.sees("What needs attention")
        redis.process.kill()
        redis.process.wait()
        browser.sees("Broken", "The hub is not ready")


if __name__ == "__main__":
    unittest.main(verbosity=2)
