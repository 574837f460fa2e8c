#!/usr/bin/env python3
"""Generates samples of 13 months, and calculates their bills with exact fractions, independently of rfm.

usage: reference.py SAMPLES.csv EXPECTED.json
"""

import csv
import json
import random
import statistics
import sys
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

SOURCES = ["transit-a", "transit-b", "quote\"d, name"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]
START = int(datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")).timestamp())
END = int(datetime(2025, 2, 1, tzinfo=ZoneInfo("UTC")).timestamp())


def generate():
    """Returns rows (time, source, covered ms, in bytes, in packets, out bytes, out packets)."""
    chance = random.Random(26)
    for source in SOURCES:
        clock = START - 86400  # the month before, in part
        while clock < END + 86400:
            what = chance.random()
            if what < 0.0005:  # down for up to a day
                clock += 300 * chance.randrange(1, 288)
            elif what < 0.001:  # the clock is set back: the same times are stored again
                clock -= 300 * chance.randrange(1, 12)
            elif what < 0.0013:  # the clock is set forward
                clock += 300 * chance.randrange(1, 48)
            covered = 300_000
            if chance.random() < 0.01:  # a restart within the interval
                covered = chance.randrange(0, 300_001)
            volume = 10 ** chance.uniform(3, 12)
            row = [clock, source, covered]
            for _ in range(2):
                count = int(volume * chance.random()) if chance.random() > 0.01 else 0
                row += [count, count // chance.randrange(64, 1500)]
            yield row
            clock += 300


def percentile(rates):
    rates = sorted(rates)
    if not rates:
        return None, None
    nearest = rates[-(-95 * len(rates) // 100) - 1]
    if len(rates) == 1:
        return nearest, nearest
    return nearest, statistics.quantiles(rates, n=100, method="inclusive")[94]


def bill(rows, start, end, sources, overhead):
    sums = {}
    for time, source, covered, *counts in rows:
        if start <= time < end and source in sources:
            added = sums.setdefault((time // 300, source), [0] * 5)
            for at, value in enumerate([covered, *counts]):
                added[at] += value
    rates, partial = {}, {}
    total, packets = [0, 0], [0, 0]
    for (interval, _), (covered, received, received_packets, sent, sent_packets) in sums.items():
        both = [received + overhead * received_packets, sent + overhead * sent_packets]
        total = [total[0] + both[0], total[1] + both[1]]
        packets = [packets[0] + received_packets, packets[1] + sent_packets]
        if covered * 2 >= 300_000:
            rate = rates.setdefault(interval, [Fraction(0), Fraction(0)])
            for side in range(2):
                rate[side] += Fraction(both[side] * 8000, covered)
            partial[interval] = partial.get(interval, 0) + 1
    received, sent = ([rate[side] for rate in rates.values()] for side in range(2))
    methods = {
        "in": percentile(received),
        "out": percentile(sent),
        "max_by_sample": percentile([max(rate) for rate in rates.values()]),
        "sum_by_sample": percentile([sum(rate) for rate in rates.values()]),
    }
    pairs = zip(methods["in"], methods["out"])
    methods["max"] = tuple(None if a is None else max(a, b) for a, b in pairs)
    expected = -(-end // 300) - -(-start // 300)
    return {
        "intervals": expected,
        "samples": len(rates),
        "missing": expected - len(rates),
        "partial": sum(1 for found in partial.values() if found < len(sources)),
        "bytes": total,
        "packets": packets,
        "peak_in": float(max(received, default=0)),
        "rates": {name: [None if v is None else float(v) for v in pair] for name, pair in methods.items()},
    }


def main():
    rows = list(generate())
    with open(sys.argv[1], "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["time", "source", "covered_seconds", "in_bytes", "in_packets", "out_bytes", "out_packets"])
        for time, source, covered, *counts in rows:
            writer.writerow([time, source, covered / 1000, *counts])
    bills = []
    for month in range(13):
        year, number = divmod(2024 * 12 + month, 12)
        following = divmod(2024 * 12 + month + 1, 12)
        zone = ZoneInfo(ZONES[month % len(ZONES)])
        start = int(datetime(year, number + 1, 1, tzinfo=zone).timestamp())
        end = int(datetime(following[0], following[1] + 1, 1, tzinfo=zone).timestamp())
        sources = [SOURCES, SOURCES[:2], SOURCES[2:]][month % 3]
        overhead = [0, 4, 24][month // 3 % 3]
        bills.append({
            "month": f"{year}-{number + 1:02}",
            "zone": str(zone),
            "sources": sources,
            "overhead": overhead,
            **bill(rows, start, end, set(sources), overhead),
        })
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        json.dump(bills, out)


main()
