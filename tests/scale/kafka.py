# SPDX-License-Identifier: AGPL-3.0-only
"""Apache Kafka, one node (KRaft), on the address that the examples name."""

from host import CACHE, poll

PORT = 9_092
VERSION = "4.1.1"
_CLUSTER = "cm1tLXNjYWxlLXRlc3QtMQ"

_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
controller.listener.names=CONTROLLER
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.dirs={folder}/log
"""


class Kafka:
    def __init__(self, host):
        self.host = host
        folder = host.folder / "kafka"
        folder.mkdir()
        self.properties = folder / "server.properties"
        self.properties.write_text(_PROPERTIES.format(folder=folder))
        host.run(*self._java("kafka.tools.StorageTool"), "format", "-t", _CLUSTER, "-c", self.properties)
        self.start()

    def _java(self, program):
        libraries = CACHE / "kafka" / "*"
        # for a short start: one broker that lives for minutes needs no second compiler
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", libraries, program]

    def start(self):
        self.process = self.host.start("kafka.log", *self._java("kafka.Kafka"), self.properties)
        poll("Kafka", 600, lambda: self.host.listens(PORT))

    def stop(self):
        self.host.signal("java", "TERM")
        poll("the end of Kafka", 300, lambda: not self.host.listens(PORT))
        self.process.wait(300)
