# SPDX-License-Identifier: AGPL-3.0-only
"""rfm - nfacctd or goflow2 - Kafka - ClickHouse, with the files of docs/examples."""

import re
import shlex

from clickhouse import ClickHouse
from flows import LIMIT, Pipeline
from host import CACHE, EXAMPLES, poll
from kafka import VERSION, Kafka

PORT = 4_739


class KafkaPipeline(Pipeline):
    def start(self):
        host = self.network.collector
        self.kafka = Kafka(host)
        self.clickhouse = ClickHouse(host)
        self.clickhouse.run_example("clickhouse.sql")
        self.clickhouse.run_example(f"clickhouse-{self.name}.sql")
        self.install()
        self.start_collector()
        self.report.line(f"{self.version()}, Kafka {VERSION}, ClickHouse {self.clickhouse.version}")

    def stored(self, port=None):
        return self.clickhouse.stored(port)

    def start_collector(self):
        self.start_program()
        poll(self.name, LIMIT, lambda: self.network.collector.listens(PORT, "udp"))

    def stop_collector(self):
        self.network.collector.signal(self.name, "INT")
        poll(f"the end of {self.name}", LIMIT, lambda: not self.network.collector.listens(PORT, "udp"))

    def run(self):
        self.steady("steady traffic")
        self.rate_change()
        self.restart(self.stop_collector, self.start_collector)
        self.fault("outage of the broker", self.kafka.stop, self.kafka.start)


class Nfacctd(KafkaPipeline):
    name = "nfacctd"

    def install(self):
        self.network.collector.install(EXAMPLES / "nfacctd-kafka.conf", "/etc/pmacct/nfacctd.conf")

    def start_program(self):
        self.network.collector.start("nfacctd.log", "nfacctd", "-f", "/etc/pmacct/nfacctd.conf")

    def stop_collector(self):
        """Only the first process gets the signal: a process that writes to Kafka at that moment would do so twice."""
        host = self.network.collector
        host.run("sh", "-c", "kill -INT $(cat /run/nfacctd.pid)")
        poll("the end of nfacctd", LIMIT, lambda: not host.pids("nfacctd"))

    def version(self):
        return self.network.collector.run("nfacctd", "-V", check=False).splitlines()[0]


class Goflow2(KafkaPipeline):
    name = "goflow2"

    def install(self):
        host = self.network.collector
        host.install(CACHE / "bin" / "goflow2", "/usr/local/bin/goflow2", "755")
        host.install(EXAMPLES / "goflow2.yaml", "/etc/goflow2.yaml")

    def start_program(self):
        """The command of the unit."""
        unit = (EXAMPLES / "goflow2.service").read_text().replace("\\\n", " ")
        command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
        self.network.collector.start("goflow2.log", *shlex.split(command.removeprefix("ExecStart=")))

    def version(self):
        # the program reports none itself
        module = re.search(r"\tmod\t\S+\t(\S+)", self.network.collector.run("go", "version", "-m", CACHE / "bin" / "goflow2"))
        return f"goflow2 {module[1]}"
