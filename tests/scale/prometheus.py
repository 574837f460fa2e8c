# SPDX-License-Identifier: AGPL-3.0-only
"""rfm - Prometheus 3 - federation, remote write to VictoriaMetrics, and vmagent, with the files of docs/examples.

Host names of the examples are in /etc/hosts of the collector: the router has an address for each of r1, r2 and r3.
"""

import gzip
import json
import re

from flows import Report
from host import EXAMPLES, ROOT, Count, poll
from router import COLLECTOR

PACKAGES = ROOT / ".cache" / "unstable"
UNSTABLE = PACKAGES / "bin"
ROUTERS = {"r1": "10.3.0.1", "r2": "10.3.0.11", "r3": "10.3.0.12"}
CERTIFICATE = "/etc/mimir.pem"
KEY = "/etc/mimir.key"
# of the default scrape interval, a minute, and of rules and scrapes that follow one another
LIMIT = 900

SITE, ABOVE, AGENT = "http://127.0.0.1:9090", "http://127.0.0.1:9091", "http://127.0.0.1:9092"
MIMIR, VICTORIA = "https://mimir.example.net", "http://127.0.0.1:8428"


def package_version(package):
    """The version of an unpacked package: Debian's VictoriaMetrics reports none itself."""
    with gzip.open(PACKAGES / package / "usr" / "share" / "doc" / package / "changelog.Debian.gz", "rt") as log:
        return re.search(r"\((.*?)\)", log.readline())[1]


class Prometheus:
    name = "prometheus"
    exports = False

    def __init__(self, network):
        self.network = network
        self.host = network.collector
        self.report = Report(self.name)

    def start(self):
        host, router = self.host, self.network.router
        names = [f"{COLLECTOR} prometheus.ams.example.net mimir.example.net"]
        for name, address in ROUTERS.items():
            names.append(f"{address} {name}.example.net")
            if address != ROUTERS["r1"]:
                router.ip(f"address add {address}/32 dev mgmt")
                host.ip(f"route add {address} via {ROUTERS['r1']}")
        host.run("sh", "-c", 'printf "%s\\n" "$@" >>/etc/hosts', "sh", *names)
        for example in ("prometheus.yml", "prometheus-federate.yml", "prometheus-remote-write.yml"):
            host.install(EXAMPLES / example, f"/etc/prometheus/{example}")
        for rules in ("rules.yml", "alerts.yml"):
            host.install(ROOT / "grafana" / rules, f"/etc/prometheus/{rules}")
        host.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                 "-subj", "/CN=mimir.example.net", "-addext", "subjectAltName=DNS:mimir.example.net",
                 "-keyout", KEY, "-out", CERTIFICATE)
        self.start_mimir()
        self.program("victoria.log", "victoria-metrics", "-httpListenAddr=:8428", f"-storageDataPath={host.folder}/victoria")
        self.report.line(f"Prometheus {package_version('prometheus')}, VictoriaMetrics {package_version('victoria-metrics')}")

    def program(self, log, name, *options):
        return self.host.start(log, "env", f"SSL_CERT_FILE={CERTIFICATE}", UNSTABLE / name, *options)

    def start_mimir(self):
        """VictoriaMetrics takes the place of Mimir: it receives remote write under the same path."""
        self.mimir = self.program("mimir.log", "victoria-metrics", "-httpListenAddr=:443", "-tls", f"-tlsCertFile={CERTIFICATE}",
                                  f"-tlsKeyFile={KEY}", f"-storageDataPath={self.host.folder}/mimir")
        poll("the receiver", 300, lambda: self.host.listens(443))

    def stop_mimir(self):
        self.mimir.terminate()
        self.mimir.wait(300)

    def start_scrapers(self):
        folder, configs = self.host.folder, "/etc/prometheus"
        self.program("site.log", "prometheus", f"--config.file={configs}/prometheus.yml",
                     f"--storage.tsdb.path={folder}/site")
        self.program("above.log", "prometheus", f"--config.file={configs}/prometheus-federate.yml",
                     f"--storage.tsdb.path={folder}/above", "--web.listen-address=:9091")
        self.program("agent.log", "prometheus", "--agent", f"--config.file={configs}/prometheus-remote-write.yml",
                     f"--storage.agent.path={folder}/agent", "--web.listen-address=:9092")
        self.program("vmagent.log", "vmagent", f"-promscrape.config={configs}/prometheus-remote-write.yml",
                     "-promscrape.config.strictParse=false", f"-remoteWrite.url={VICTORIA}/api/v1/write",
                     f"-remoteWrite.tmpDataPath={folder}/vmagent")
        for port in (9_090, 9_091, 9_092, 8_429):
            poll(f"port {port}", 300, lambda port=port: self.host.listens(port))

    def ask(self, store, query):
        """The results of an instant query."""
        answer = self.host.run("curl", "-sSf", "--cacert", CERTIFICATE, "--max-time", "20", "--get",
                               "--data-urlencode", f"query={query}", f"{store}/api/v1/query")
        return json.loads(answer)["data"]["result"]

    def value(self, store, query):
        results = self.ask(store, query)
        return float(results[0]["value"][1]) if results else None

    def count(self, store, instance):
        """What the store has of an interface: by its counters, and by its flows."""
        counters, flows = [], []
        for what in ("packets", "bytes"):
            counters.append(self.value(store, f'sum(rfm_interface_tx_{what}_total{{ifname="wan",instance="{instance}"}})') or 0)
            flows.append(self.value(
                store, f'sum(rfm_flow_{what}_total{{ifname="wan",direction="egress",instance="{instance}"}})') or 0)
        return Count(*counters), Count(*flows)

    def expect_all(self, what, stores):
        """Each store has the interface counters, frames included, as counters and as the sum of flows."""
        sent = self.network.sent()["wan"]
        expected = Count(sent.packets, sent.octets + 14 * sent.packets)
        for name, (store, instance) in stores.items():
            found = {}

            def equal():
                found["counts"] = self.count(store, instance)
                return all(count == expected for count in found["counts"])
            try:
                poll(name, LIMIT, equal, interval=2)
            except TimeoutError:
                raise AssertionError(f"{what}: {name} has {[str(c) for c in found['counts']]}, not {expected}") from None
            self.report.line(f"{what}: {name} has the interface counters: {expected}")

    def federated(self):
        """The Prometheus above has the sums of the site, and none of its series."""
        query = 'sum(max_over_time(rfm:interface_tx_bits:rate5m{ifname="wan",instance="r1.example.net:9669"}[15m]))'

        def equal():
            values = [self.value(store, query) for store in (SITE, ABOVE)]
            return values[0] and values[0] == values[1] and values
        value = poll("the sums of the site", LIMIT, equal, interval=2)[0]
        assert not self.ask(ABOVE, "rfm_flow_bytes_total"), "series of the site are federated"
        assert self.ask(ABOVE, "rfm_collector_dropped_packets_total"), "rfm_collector_dropped_packets_total is not federated"
        self.report.line(f"federation: the sum of the site, {value:,.0f} bit/s at most")

    def run(self):
        network = self.network
        self.start_scrapers()
        stores = {
            "Prometheus": (SITE, "r1.example.net:9669"),
            "Prometheus, another router": (SITE, "r3.example.net:9669"),
            "remote write of the agent": (MIMIR, "r1.example.net:9669"),
            "vmagent": (VICTORIA, "r1.example.net:9669"),
        }
        for name, (store, instance) in stores.items():
            poll(f"a scrape by {name}", LIMIT, lambda s=store, i=instance: self.ask(s, f'up{{instance="{i}"}} == 1'), interval=2)
        port = network.new_port()
        network.finish(network.send_flows(port, 500), network.send("connections", port, 100))
        self.expect_all("steady traffic", stores)
        network.finish(network.send_long(port, flows=20, rounds=100, seconds=60))
        self.federated()
        self.stop_mimir()
        network.finish(network.send_flows(port, 500))
        self.start_mimir()
        self.expect_all("after an outage of the receiver", stores)
