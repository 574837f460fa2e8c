# SPDX-License-Identifier: AGPL-3.0-only
"""Hosts of a test network: each has its own network, mount and process namespaces, which end with the test."""

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "scale"
EXAMPLES = ROOT / "docs" / "examples"

# Files below these folders are private to a host: a test installs an example under the path that the example names.
_OVERLAYS = ["/etc", "/usr/local", "/var/log"]

# The shell is process 1 of the host. It prints its process ID outside, then mounts.
_INIT = r"""
set -e
read -r pid rest </proc/self/stat
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs "$1"
for folder in $2; do
    mkdir -p "$1$folder/upper" "$1$folder/work"
    mount -t overlay -o "lowerdir=$folder,upperdir=$1$folder/upper,workdir=$1$folder/work" overlay "$folder"
done
mount -t tmpfs tmpfs /run
ip link set lo up
echo "$pid"
while :; do sleep 1000 & wait; done
"""


def poll(what, limit, check, interval=0.2):
    """Calls `check` until it returns a true value, and returns that; raises after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {limit} s")
        time.sleep(interval)


class Host:
    def __init__(self, name, folder):
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        scratch = tempfile.mkdtemp(dir=folder)
        self._init = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--",
             "sh", "-c", _INIT, "sh", scratch, " ".join(_OVERLAYS)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.pid = self._init.stdout.readline().strip()
        if not self.pid:
            raise RuntimeError(f"cannot make the host {name}")
        self.run("hostname", name)

    def _enter(self, words):
        return ["nsenter", "-t", self.pid, "-n", "-m", "-p", "-u", "--", *map(str, words)]

    def run(self, *words, check=True, **options):
        """Runs a command to its end and returns its standard output."""
        result = subprocess.run(self._enter(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
        if check and result.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, words))}: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def start(self, log, *words, **options):
        """Starts a command; its output is appended to a file in the folder of the host."""
        with open(self.folder / log, "ab") as output:
            options.setdefault("stdin", subprocess.DEVNULL)
            options.setdefault("stdout", output)
            return subprocess.Popen(self._enter(words), stderr=output, **options)

    def install(self, source, target, mode="644"):
        """Installs a file of the repository, unchanged, under a path of the host."""
        self.run("install", "-D", "-m", mode, source, target)

    def listens(self, port, protocol="tcp"):
        option = {"tcp": "-Hlnt", "udp": "-Hlnu"}[protocol]
        return re.search(rf":{port}\s", self.run("ss", option)) is not None

    def pids(self, program):
        """Process IDs, inside the host, of all processes with this name."""
        return self.run("pgrep", "-x", program, check=False).split()

    def signal(self, program, signal):
        """Sends a signal to all processes of the host with this name."""
        pids = self.pids(program)
        if pids:
            self.run("kill", f"-{signal}", *pids, check=False)
        return pids

    def ip(self, words):
        return self.run("ip", *words.split())

    def counters(self, interface):
        """The kernel's counters of sent packets and bytes, without Ethernet headers."""
        link = json.loads(self.run("ip", "-j", "-s", "link", "show", "dev", interface))[0]
        sent = link["stats64"]["tx"]
        return Count(sent["packets"], sent["bytes"] - 14 * sent["packets"])

    def ifindex(self, interface):
        return json.loads(self.run("ip", "-j", "link", "show", "dev", interface))[0]["ifindex"]

    def end(self):
        self._init.kill()
        self._init.wait()


class Count:
    """Packets and bytes."""

    def __init__(self, packets=0, octets=0):
        self.packets, self.octets = int(packets), int(octets)

    def __eq__(self, other):
        return (self.packets, self.octets) == (other.packets, other.octets)

    def __add__(self, other):
        return Count(self.packets + other.packets, self.octets + other.octets)

    def __sub__(self, other):
        return Count(self.packets - other.packets, self.octets - other.octets)

    def __str__(self):
        return f"{self.packets:,} packets, {self.octets:,} bytes"


def join(a, b, network):
    """Joins two hosts, given as (host, interface), by a veth pair in the networks 10.N.0.0/24 and fd00:N::/64.

    The first host gets the address 1, the second the address 2. Neighbors are permanent and offloads are off: each
    packet on the wire is a packet of a flow, and the interface counters count it once.
    """
    ends = [(*a, 1), (*b, 2)]
    (left, left_name, _), (right, right_name, _) = ends
    # outside of the process namespaces, where both process IDs are known
    words = f"link add {left_name} type veth peer name {right_name} netns {right.pid}"
    subprocess.run(["nsenter", "-t", left.pid, "-n", "ip", *words.split()], check=True)
    for host, name, number in ends:
        host.run("ethtool", "-K", name, "tso", "off", "gso", "off", "gro", "off")
        host.ip(f"address add 10.{network}.0.{number}/24 dev {name}")
        host.ip(f"address add fd00:{network}::{number}/64 dev {name} nodad")
        host.ip(f"link set {name} up")
    for (host, name, _), (peer, peer_name, number) in (ends, reversed(ends)):
        mac = json.loads(peer.run("ip", "-j", "link", "show", "dev", peer_name))[0]["address"]
        for address in (f"10.{network}.0.{number}", f"fd00:{network}::{number}"):
            host.ip(f"neighbour replace {address} lladdr {mac} nud permanent dev {name}")
