# SPDX-License-Identifier: AGPL-3.0-only
"""rfm - nfcapd, with the command of docs/ipfix.md, and nfdump."""

import re
import shlex

from flows import Pipeline
from host import ROOT, Count, poll

PORT = 4_739


class Nfdump(Pipeline):
    name = "nfdump"
    # nfcapd shows the flows of a minute at its end
    silence = 70

    def start(self):
        text = (ROOT / "docs" / "ipfix.md").read_text()
        self.command = re.search(r"`(nfcapd -w DIR [^`]*)`", text)[1]
        self.files = self.network.collector.folder / "flows"
        self.files.mkdir()
        self.start_collector()
        version = self.network.collector.run("nfdump", "-V", check=False).strip()
        self.report.line(f"{version}: {self.command}")

    def start_collector(self):
        words = shlex.split(self.command.replace("DIR", str(self.files)))
        self.network.collector.start("nfcapd.log", *words)
        poll("nfcapd", 300, lambda: self.network.collector.listens(PORT, "udp"))

    def stop_collector(self):
        self.network.collector.signal("nfcapd", "INT")
        poll("the end of nfcapd", 300, lambda: not self.network.collector.pids("nfcapd"))

    def stored(self, port=None):
        """Of the complete files."""
        counts, rows = {}, 0
        if any(self.files.glob("nfcapd.2*")):
            condition = [f"port {port}"] if port else []
            answer = self.network.collector.run(
                "nfdump", "-R", self.files, "-q", "-N", "-A", "outif", "-o", "fmt:%out %pkt %byt %fl", *condition)
            for line in answer.replace("No matching flows", "").split("\n"):
                if not line.strip():
                    continue
                interface, packets, octets, number = map(int, line.split())
                counts[interface] = Count(packets, octets)
                rows += number
        return counts, rows

    def run(self):
        self.steady("steady traffic")
        self.rate_change()
        self.restart(self.stop_collector, self.start_collector)
        info = self.network.collector.run("nfdump", "-I", "-R", self.files)
        failures = re.search(r"Sequence failures: (\d+)", info)[1]
        self.report.line(f"nfdump counts {failures} sequence failures")
        names = self.network.collector.run("nfdump", "-R", self.files, "-q", "-A", "inif,outif", "-o", "fmt:%inam %onam")
        shown = sorted(line.split() for line in names.splitlines() if line.strip())
        assert ["lan", "wan"] in shown and ["wan", "lan"] in shown, f"interface names: {names}"
        self.report.line("nfdump shows the interface names")
