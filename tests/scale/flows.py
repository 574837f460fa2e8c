# SPDX-License-Identifier: AGPL-3.0-only
"""Flows of a router through a collector into a store: none may be missing, and faults cost what is reported.

Each phase of a test sends to a port of its own, so that late records count for the phase that they belong to.
"""

import time

from host import Count, poll
from router import WATCHED

# Seconds that a store may need for what it has received: other work on the machine delays all.
LIMIT = 600


class Report:
    """Lines of a pipeline: what was compared, and what was lost."""

    def __init__(self, name):
        self.name = name

    def line(self, text):
        print(f"{self.name}: {text}", flush=True)


class Phase:
    """The traffic to one port, what the interfaces and rfm counted of it, and how much of it the store has."""

    def __init__(self, pipeline, what):
        self.pipeline, self.what = pipeline, what
        self.network = pipeline.network
        self.port = self.network.new_port()
        self.before, self.before_records = self.network.sent(), self.network.records()
        self.before_accounted = self.network.accounted()
        self.end()

    def end(self):
        """Call it when the traffic has ended: all flows are exported, and the counters are read."""
        sent = self.network.sent()
        self.sent = {name: sent[name] - self.before[name] for name in WATCHED}

    def export(self):
        """Ends the phase when rfm has sent all records."""
        self.network.settle()
        records = self.network.exported()
        self.records, self.dropped = (after - before for after, before in zip(records, self.before_records))
        accounted = self.network.accounted()
        self.accounted = {name: accounted[name] - self.before_accounted[name] for name in WATCHED}
        self.end()
        self.exported_at = time.monotonic()

    def packets(self):
        """Packets that this phase has sent so far."""
        return self.network.sent()["wan"].packets - self.before["wan"].packets

    def missing(self, expected):
        """What the store lacks."""
        found, self.rows = self.pipeline.stored(self.port)
        index = self.network.router.ifindex
        return {name: expected[name] - found.get(index(name), Count()) for name in WATCHED}

    def expect(self, expected):
        """Returns the seconds after which the store has what is expected, to the byte."""
        try:
            poll(self.what, LIMIT, lambda: all(count == Count() for count in self.missing(expected).values()), interval=1)
        except TimeoutError as error:
            raise AssertionError(
                f"{error}: missing {texts(self.missing(expected))}, of {texts(expected)}; {self.rows:,} rows, "
                f"{self.records:,} records sent, {self.dropped:,} dropped") from None
        return time.monotonic() - self.exported_at

    def expect_all(self):
        seconds = self.expect(self.sent)
        self.pipeline.report.line(f"{self.what}: the store equals the interface counters: "
                                  f"{self.sent['lan'] + self.sent['wan']}, {self.rows:,} records, after {seconds:.0f} s")

    def report_loss(self):
        """Reports the records that the store lacks; returns how many, and fails if it has some twice."""
        missing = self.missing(self.sent)
        of = self.records + self.dropped
        lost = of - self.rows
        packets, all_packets = (sum(count.packets for count in counts.values()) for counts in (missing, self.sent))
        self.pipeline.report.line(
            f"{self.what}: the store lacks {lost:,} of {of:,} records ({lost / of:.0%}), {packets:,} of {all_packets:,} packets; "
            f"rfm counts {self.dropped:,} of these records as dropped")
        for count in missing.values():
            assert 0 <= count.packets and 0 <= count.octets, f"{self.what}: records are stored twice: {texts(missing)}"
        return lost


def texts(counts):
    return ", ".join(f"{name} {count}" for name, count in counts.items())


class Pipeline:
    """A network, a collector and a store.

    A subclass starts all with start(), and asks the store with stored(port): the Count of each egress interface, of the
    flows from or to a port, and the number of records. Without a port it is everything.
    """

    name = ""
    exports = True
    # seconds without a new record after which a store has all
    silence = 30

    def __init__(self, network):
        self.network = network
        self.report = Report(self.name)

    def steady(self, what, flows=2_000, connections=200):
        """Everything that is sent is stored, while all runs."""
        phase = Phase(self, what)
        self.network.finish(self.network.send_flows(phase.port, flows),
                            self.network.send("connections", phase.port, connections))
        phase.export()
        phase.expect_all()

    def rate_change(self):
        """1 in 1, 1 in 10, and back, while flows continue: each record is scaled by its own rate."""
        phase = Phase(self, "change of the sample rate")
        traffic = self.network.send_long(phase.port, flows=200, rounds=60, seconds=20)
        self.reach(phase, traffic, 3_000)
        self.network.set_sample_rate(10)
        self.network.finish(traffic)
        phase.export()
        self.network.set_sample_rate(1)
        phase.expect(phase.accounted)
        estimate, sent = phase.accounted["wan"], phase.sent["wan"]
        deviation = estimate.packets / sent.packets - 1
        # half or more of 12,000 packets at 1 in 10: a standard deviation is at most 2.5 %
        assert abs(deviation) < 0.1, f"scaled {estimate}, sent {sent}"
        self.report.line(f"{phase.what}: the store equals rfm's estimate: {estimate}, {deviation:+.1%} from the interface counter")
        self.steady("after the change of the rate", flows=500, connections=20)

    def reach(self, phase, traffic, packets):
        """Waits until the traffic of a phase has sent so many packets."""
        def reached():
            assert traffic.poll() in (None, 0), (self.network.client.folder / "traffic.log").read_text()
            return phase.packets() > packets
        poll(f"{packets:,} packets", LIMIT, reached)

    def fault(self, what, begin, end, flows=3_000):
        """Flows before, during and after a fault; returns how many records of each are lost, and the phases."""
        phases = []

        def send(when, flows):
            phases.append(Phase(self, f"{when} the {what}"))
            self.network.finish(self.network.send_flows(phases[-1].port, flows))
            phases[-1].export()

        send("before", flows)
        start = time.monotonic()
        begin()
        send("during", 2 * flows)
        end()
        self.report.line(f"{what}: {time.monotonic() - start:.0f} s")
        send("right after", flows)
        self.recover()
        self.steady(f"after the {what}", flows=500, connections=20)
        self.rest()
        return [phase.report_loss() for phase in phases], phases

    def restart(self, stop, start):
        """The collector is stopped as a service is, and started again."""
        lost, phases = self.fault("restart of the collector", stop, start)
        assert lost[0] == 0, "the collector loses what it has received"
        assert lost[2] == 0, "records are lost after the return of the collector"
        # the kernel reports a refused message with the next one
        counted = sum(phase.dropped for phase in phases)
        assert sum(lost) - counted < 0.05 * sum(lost), f"rfm counts {counted} of {sum(lost)} lost records"

    def rest(self):
        """Waits until the store gets no more records."""
        seen = {"rows": -1, "since": 0.0}

        def quiet():
            rows = self.stored()[1]
            if rows != seen["rows"]:
                seen.update(rows=rows, since=time.monotonic())
            return time.monotonic() - seen["since"] > self.silence
        poll("a store at rest", LIMIT, quiet, interval=1)

    def recover(self):
        """Sends flows until one of them is stored."""
        phase = Phase(self, "recovery")
        start = time.monotonic()

        def stored():
            self.network.finish(self.network.send_flows(phase.port, 2))
            return self.stored(phase.port)[1] > 0
        poll("the first flow after a fault", LIMIT, stored, interval=3)
        # what is still on its way must not be counted for the next phase
        phase.export()
        self.report.line(f"recovery: the first new record was stored after {time.monotonic() - start:.0f} s")
