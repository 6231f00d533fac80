"""Checks that the files for deployment fit each other and the hub's settings. Needs PyYAML; run by check-deploy.sh."""
import re
import sys
import tomllib
from pathlib import Path

import yaml

WRONG = []


def check(what, holds):
    print(f"  {'ok   ' if holds else 'WRONG'} {what}")
    if not holds:
        WRONG.append(what)


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|min)", str(text)).groups()
    return int(number) * {"s": 1, "min": 60}[unit]


defaults = tomllib.loads(Path("config/default.toml").read_text())
unit = Path("deploy/systemd/event-source-api.service").read_text()
kube = Path("deploy/kubernetes")
manifests = {path.name: yaml.safe_load(path.read_text()) for path in kube.glob("*.yaml")}
config_map = tomllib.loads(manifests["configmap.yaml"]["data"]["config.toml"])
service = tomllib.loads(Path("deploy/systemd/config.toml").read_text())
compose = yaml.safe_load(Path("compose.yaml").read_text())


def stop(settings):
    """The longest that a stop takes: requests, what is left for the store, then streams and 5 s."""
    shutdown = settings.get("http", {}).get("shutdown", defaults["http"]["shutdown"])
    return 2 * seconds(shutdown) + 5 + seconds(defaults["store"]["timeout"])


def known(settings, names):
    """Sections and settings that the hub does not know."""
    return [f"{s}.{k}" for s, table in settings.items() for k in table if k not in names.get(s, {})]


descriptors = 2 * defaults["live"]["max_sessions"] + 1000
hubs = [s for s in compose["services"].values() if s.get("image") == "event-source-api"]
pod = manifests["deployment.yaml"]["spec"]["template"]["spec"]
hub = pod["containers"][0]
pause = hub["lifecycle"]["preStop"]["sleep"]["seconds"]

for name, settings in (("the ConfigMap", config_map), ("config.toml of the service", service)):
    check(f"{name} has settings that the hub knows", not known(settings, defaults))
variables = [v for s in hubs for v in s["environment"]] + list(manifests["secret.example.yaml"]["stringData"])
variables += [e["name"] for e in hub["env"]]
paths = {v: v.removeprefix("EVENTS__").lower().split("__") for v in variables}
check("variables name settings that the hub knows", all(p[1] in defaults.get(p[0], {}) for p in paths.values()))

check("systemd waits longer than a stop takes", seconds(re.search(r"^TimeoutStopSec=(.*)$", unit, re.M)[1]) > stop(service))
check("Compose waits longer than a stop takes", all(seconds(s["stop_grace_period"]) > stop({}) for s in hubs))
check("Kubernetes waits longer than the pause and a stop take", pod["terminationGracePeriodSeconds"] > pause + stop(config_map))
check("systemd gives descriptors for every session", int(re.search(r"^LimitNOFILE=(.*)$", unit, re.M)[1]) >= descriptors)
check("Compose gives descriptors for every session", all(s["ulimits"]["nofile"] >= descriptors for s in hubs))

check("three hubs, six servers of Redis", len(hubs) == 3 and sum(s.get("command", "") == compose["x-redis"]["command"] for s in compose["services"].values()) == 6)
members = [s["networks"]["store"]["ipv4_address"] + ":6379" for n, s in compose["services"].items() if re.fullmatch(r"redis-\d", n)]
check("the cluster is made of these servers", compose["services"]["redis-cluster"]["command"] == members)
mounts = [v.split(":")[0] for s in compose["services"].values() for v in s.get("volumes", []) if v.startswith("./")]
check("files that containers are given are there", all(Path(m).is_file() for m in mounts))
check("the balancer's hubs are Compose's", re.findall(r"^    server (\S+) \1:8080$", Path("deploy/haproxy.cfg").read_text(), re.M) == [n for n, s in compose["services"].items() if s in hubs])
check("only loopback is published", all(p.startswith("127.0.0.1:") for s in compose["services"].values() for p in s.get("ports", [])))

listed = set(manifests["kustomization.yaml"]["resources"])
there = {n for n in manifests if n not in ("kustomization.yaml", "secret.example.yaml")} | {"secret.yaml"}
check("the kustomization lists every manifest", listed == there)
labels = manifests["deployment.yaml"]["spec"]["selector"]["matchLabels"]
selectors = [
    manifests["service.yaml"]["spec"]["selector"],
    manifests["disruption.yaml"]["spec"]["selector"]["matchLabels"],
    manifests["network.yaml"]["spec"]["podSelector"]["matchLabels"],
    manifests["deployment.yaml"]["spec"]["template"]["metadata"]["labels"],
]
check("service, budget and policy select the hubs", all(s == labels for s in selectors))
check("the probes' port is the one that is bound", config_map["http"]["bind"].endswith(f":{hub['ports'][0]['containerPort']}"))

sys.exit(bool(WRONG))
