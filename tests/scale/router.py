# SPDX-License-Identifier: AGPL-3.0-only
"""A router with rfm between a client and a server, and the collector beside it."""

import re
import sys
import tempfile
import time
from pathlib import Path

from host import ROOT, Count, Host, join, poll
from traffic import PORTS

TRAFFIC = Path(__file__).with_name("traffic.py")
SERVER = ["10.2.0.2", "fd00:2::2"]
COLLECTOR = "10.3.0.2"
ROUTER = "10.3.0.1"
WATCHED = ["lan", "wan"]
# above the ports that the kernel assigns
FIRST_PORT = 61_001

_CONFIG = """
[agent]
interfaces = ["*"]
[agent.bpf]
sample_rate = {rate}
[agent.collector]
eviction_timeout = "3s"
active_timeout = "10s"
[agent.prometheus]
host = "0.0.0.0"
max_series = 1000
"""

_EXPORT = """
[agent.ipfix]
host = "{collector}"
template_refresh = "{refresh}"
"""


class Network:
    """client - router - server, and router - collector. All that it makes ends with it."""

    def __init__(self, name):
        target = ROOT / "target" / "scale"
        target.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=target))
        self.hosts = []
        self.next_source, self.next_port = 1_024, FIRST_PORT
        self.rfm = None
        self.client, self.router, self.server, self.collector = map(self.host, ["client", "router", "server", "collector"])
        join((self.router, "lan"), (self.client, "eth0"), 1)
        join((self.router, "wan"), (self.server, "eth0"), 2)
        join((self.router, "mgmt"), (self.collector, "eth0"), 3)
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for host, network in ((self.client, 1), (self.server, 2)):
            host.ip(f"route add default via 10.{network}.0.1")
            host.ip(f"-6 route add default via fd00:{network}::1")
        self.server.start("traffic.log", sys.executable, TRAFFIC, "serve", FIRST_PORT, *SERVER)
        poll("the server", 300, lambda: self.server.listens(FIRST_PORT + PORTS - 1))

    def host(self, name):
        self.hosts.append(Host(name, self.folder))
        return self.hosts[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            host.end()

    # rfm

    def _configure(self, rate):
        text = _CONFIG.format(rate=rate) + self._export
        (self.folder / "rfm.toml").write_text(text)

    def start_rfm(self, binary, export=True, refresh="1m"):
        self._export = _EXPORT.format(collector=COLLECTOR, refresh=refresh) if export else ""
        self._configure(rate=1)
        self.settle(seconds=3)
        self.zero = {name: self.router.counters(name) for name in WATCHED}
        self.rfm = self.router.start("rfm.log", binary, "--config", self.folder / "rfm.toml")

        def serves():
            if self.rfm.poll() is not None:
                raise RuntimeError((self.router.folder / "rfm.log").read_text())
            return self.router.listens(9_669)

        poll("rfm", 300, serves)
        poll("the interfaces", 300, lambda: all(f'tx_packets_total{{ifname="{name}"' in self.scrape() for name in WATCHED))

    def set_sample_rate(self, rate):
        """Reloads the configuration and returns when the new rate is in force."""
        self._configure(rate)
        self.router.signal("rfm", "HUP")
        poll("the new sample rate", 300, lambda: self.metric("rfm_sample_rate") == rate)

    def scrape(self):
        return self.router.run("curl", "-sf", "--max-time", "10", "http://127.0.0.1:9669/metrics")

    def metric(self, name, **labels):
        """The sum of the samples with these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        total = 0.0
        for line in self.scrape().splitlines():
            match = re.fullmatch(rf"{name}(\{{.*\}})? (\S+)", line)
            if match and all(label in (match[1] or "") for label in wanted):
                total += float(match[2])
        return total

    def versions(self, binary):
        return self.router.run(binary, "--version").strip()

    # traffic

    def new_port(self):
        """A port of the server that no traffic has used."""
        assert self.next_port < FIRST_PORT + PORTS, "more phases than ports: raise PORTS"
        self.next_port += 1
        return self.next_port - 1

    def send(self, kind, port, *arguments):
        """Starts traffic; returns the process."""
        return self.client.start("traffic.log", sys.executable, TRAFFIC, kind, port, *arguments, *SERVER)

    def _sources(self, flows):
        first = self.next_source
        self.next_source += flows // 2 + 1
        return first

    def send_flows(self, port, flows, packets=3, rate=2_000):
        return self.send("flows", port, self._sources(flows), flows, packets, rate)

    def send_long(self, port, flows, rounds, seconds):
        return self.send("long", port, self._sources(flows), flows, rounds, seconds)

    def finish(self, *processes):
        for process in processes:
            if process.wait(600) != 0:
                raise RuntimeError((self.client.folder / "traffic.log").read_text())
        self.settle()

    def settle(self, seconds=1):
        """Returns when no interface has sent a packet for so many seconds."""
        seen = {"counters": None, "rounds": 0}

        def quiet():
            counters = [str(self.router.counters(name)) for name in WATCHED]
            seen["rounds"] = seen["rounds"] + 1 if counters == seen["counters"] else 0
            seen["counters"] = counters
            return seen["rounds"] >= 5 * seconds

        poll("no packets", 300, quiet, interval=0.2)

    def sent(self):
        """The interface counters since rfm started: name to Count."""
        return {name: self.router.counters(name) - self.zero[name] for name in WATCHED}

    def accounted(self):
        """The same by rfm's flow counters, which are scaled by the sample rate; their bytes without Ethernet headers."""
        counts = {}
        for name in WATCHED:
            packets, octets = (
                self.metric(f"rfm_flow_{what}_total", ifname=name, direction="egress") for what in ("packets", "bytes"))
            counts[name] = Count(packets, octets - 14 * packets)
        return counts

    def exported(self):
        """Waits until all flows have ended and no record waits; returns how many were sent, and how many dropped."""
        poll("the end of all flows", 600, lambda: self.metric("rfm_collector_active_flows") == 0)
        seen = {"records": None, "since": 0.0}

        def counted():
            # UDP: rfm counts a record as sent if it was not rejected for 0.3 s
            records = self.records()
            if records != seen["records"] or self.metric("rfm_ipfix_queue_records") > 0:
                seen.update(records=records, since=time.monotonic())
            return time.monotonic() - seen["since"] > 3

        poll("the end of the export", 600, counted)
        return seen["records"]

    def records(self):
        return (int(self.metric("rfm_ipfix_records_total")), int(self.metric("rfm_ipfix_dropped_records_total")))
