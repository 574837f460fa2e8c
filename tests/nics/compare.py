"""Compares what a guest counted in each phase with the captures of its cards.

    python3 tests/nics/compare.py CONSOLE CAPTURE ...

CONSOLE is the output of tests/guest/nics.sh, and CAPTURE a pcap file of the card c0, c1 and so on. Packets and bytes
of each direction and family must be equal, those that a rule dropped included. If a card had no room for received
packets, what is counted must be equal to what its driver received.

A GSO packet counts as the segments that a wire would carry (docs/counting.md). A capture does not have their size:
it follows from the MSS options of the connection. The emulated Intel cards pad received frames to 60 bytes, as a sender
on a wire would have done.
"""

# SPDX-License-Identifier: AGPL-3.0-only

import re
import struct
import sys
from collections import defaultdict

MARK = 40000


def packets(path):
    """Yields the original length and the bytes of each frame."""
    with open(path, "rb") as file:
        data = file.read()
    magic = struct.unpack_from("<I", data)[0]
    if magic not in (0xA1B2C3D4, 0xA1B23C4D):
        raise SystemExit(f"{path}: not a pcap file of this byte order")
    at = 24
    # the last packet may be cut short
    while at + 16 <= len(data):
        _, _, kept, length = struct.unpack_from("<IIII", data, at)
        at += 16
        yield length, data[at : at + kept]
        at += kept


class Card:
    """Splits a capture into phases: sums of (direction, family) by phase."""

    def __init__(self, path, mac, shortest):
        self.mac = mac
        self.shortest = shortest
        self.mss = {}
        self.phase = None
        self.sums = defaultdict(lambda: [0, 0])
        for length, frame in packets(path):
            self.add(length, frame)

    def add(self, length, frame):
        direction = "tx" if frame[6:12] == self.mac else "rx"
        if direction == "rx":
            length = max(length, self.shortest)
        kind, at = struct.unpack_from(">H", frame, 12)[0], 14
        while kind in (0x8100, 0x88A8):
            kind, at = struct.unpack_from(">H", frame, at + 2)[0], at + 4
        if kind == 0x0800:
            family, protocol, start = "ipv4", frame[at + 9], at + (frame[at] & 15) * 4
            ends = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
        elif kind == 0x86DD:
            family, protocol, start = "ipv6", frame[at + 6], at + 40
            ends = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
        else:
            return
        count, size = 1, length
        if protocol == 6:
            count, size = self.segments(length, frame, start, ends)
        if protocol == 17 and direction == "tx":
            port = struct.unpack_from(">H", frame, start + 2)[0]
            if port >= MARK:
                number, end = divmod(port - MARK, 2)
                self.phase = None if end else number
        if self.phase is not None:
            total = self.sums[self.phase, direction, family]
            total[0] += count
            total[1] += size

    def segments(self, length, frame, start, ends):
        """Segments of a TCP packet, and their bytes."""
        source, target = struct.unpack_from(">HH", frame, start)
        header = (frame[start + 12] >> 4) * 4
        connection = frozenset([(ends[0], source), (ends[1], target)])
        if frame[start + 13] & 2:
            own = maximum_segment(frame[start + 20 : start + header])
            # that of an earlier connection with the same ports ends with a SYN without ACK
            other = self.mss.get(connection, own) if frame[start + 13] & 16 else own
            self.mss[connection] = min(own, other)
            return 1, length
        payload = length - start - header
        largest = self.mss[connection] - (header - 20)
        count = max(1, -(-payload // largest))
        return count, length + (count - 1) * (start + header)


def maximum_segment(options):
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
        elif options[at] == 2:
            return struct.unpack_from(">H", options, at + 2)[0]
        else:
            at += options[at + 1]
    return 536


def guest_counts(console):
    """Differences between the two readings of each phase, the names of the phases, and the driver of the cards."""
    line = re.compile(r"^nics: (before|after) (\d+) (\S+) (c\d) (rx|tx) (\S+) (packets|bytes) (\d+)$")
    counts, names, driver = defaultdict(int), {}, ""
    with open(console, encoding="utf-8", errors="replace") as file:
        for text in file:
            # firmware and kernel write to the same line before
            if "nics: driver " in text:
                driver = text.split("nics: driver ")[1].split(",")[0]
            found = line.match(text.rstrip())
            if found:
                when, phase, name, card, direction, what, unit, value = found.groups()
                names[int(phase)] = name
                sign = 1 if when == "after" else -1
                counts[int(phase), card, direction, what, unit] += sign * int(value)
    return counts, names, driver


def main():
    console, *captures = sys.argv[1:]
    counts, names, driver = guest_counts(console)
    failures = 0 if names and driver else 1
    shortest = 60 if driver in ("e1000e", "igb") else 0
    for number, path in enumerate(captures):
        name = f"c{number}"
        card = Card(path, bytes.fromhex(f"5254000000c{number}"), shortest)
        for phase in sorted(names):
            received = sum(counts[phase, name, "rx", what, "packets"] for what in ("ipv4", "ipv6", "other", "dropped"))
            device = counts[phase, name, "rx", "device", "packets"]
            for direction in ("rx", "tx"):
                for family in ("ipv4", "ipv6"):
                    found = [counts[phase, name, direction, family, unit] for unit in ("packets", "bytes")]
                    if (direction, family) == ("rx", "ipv4"):
                        for i, unit in enumerate(("packets", "bytes")):
                            found[i] += counts[phase, name, direction, "dropped", unit]
                    wire = card.sums[phase, direction, family]
                    if found == wire == [0, 0]:
                        continue
                    same, note = found == wire, ""
                    # of such packets only the number is known
                    if not same and direction == "rx" and received == device and found[0] < wire[0]:
                        same, note = True, f"; {wire[0] - found[0]} more were dropped by the card"
                    failures += not same
                    print(
                        f"nics: {'ok' if same else 'FAILED'}: {names[phase]}: {name} {direction} {family}: "
                        f"{found[0]} packets, {found[1]} bytes"
                        + ("" if same else f"; captured {wire[0]} packets, {wire[1]} bytes")
                        + note
                    )
    if failures:
        raise SystemExit(f"nics: {failures} comparisons failed")


if __name__ == "__main__":
    main()
