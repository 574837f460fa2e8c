# SPDX-License-Identifier: AGPL-3.0-only
"""Sends flows through the router, and receives them; runs inside a host.

    traffic.py serve PORT ADDRESS ADDRESS                             UDP and TCP, PORTS ports from PORT on
    traffic.py flows PORT FIRST FLOWS PACKETS RATE ADDRESS ADDRESS    short UDP flows, RATE a second
    traffic.py long PORT FIRST FLOWS ROUNDS SECONDS ADDRESS ADDRESS   UDP flows side by side, a packet in each round
    traffic.py connections PORT COUNT ADDRESS ADDRESS                 TCP, with an answer

The addresses are those of the server: IPv4, IPv6. Source ports start at FIRST.
"""

import resource
import socket
import sys
import threading
import time

PORTS = 16
REQUEST, ANSWER = 3_000, 20_000


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _receive(connection, size):
    while size > 0:
        data = connection.recv(65_536)
        if not data:
            return
        size -= len(data)


def _answer(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            _receive(connection, REQUEST)
            connection.sendall(bytes(ANSWER))
            connection.shutdown(socket.SHUT_WR)
            _receive(connection, 1)


def serve(port, *addresses):
    sinks = []
    for number in range(int(port), int(port) + PORTS):
        for address in addresses:
            # nobody reads it: a full buffer is no error for the sender
            sink = socket.socket(_family(address), socket.SOCK_DGRAM)
            sink.bind((address, number))
            sinks.append(sink)
            listener = socket.create_server((address, number), family=_family(address), backlog=512)
            threading.Thread(target=_answer, args=(listener,)).start()
    # as long as the host exists
    threading.Event().wait()


def _open(flow, port, first, addresses):
    """A socket to the port of the server, for flow number `flow`: even ones use IPv4, odd ones IPv6."""
    address = addresses[flow % 2]
    sender = socket.socket(_family(address), socket.SOCK_DGRAM)
    if ":" in address:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sender.bind(("::" if ":" in address else "0.0.0.0", int(first) + flow // 2))
    sender.connect((address, int(port)))
    return sender


def _size(flow, packet):
    return 20 + (37 * flow + 101 * packet) % 1_200


def _until(moment):
    time.sleep(max(0.0, moment - time.monotonic()))


def flows(port, first, count, packets, rate, *addresses):
    start = time.monotonic()
    for flow in range(int(count)):
        with _open(flow, port, first, addresses) as sender:
            for packet in range(int(packets)):
                sender.send(bytes(_size(flow, packet)))
        _until(start + flow / float(rate))


def long(port, first, count, rounds, seconds, *addresses):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(count) + 64,) * 2)
    senders = [_open(flow, port, first, addresses) for flow in range(int(count))]
    start = time.monotonic()
    for number in range(int(rounds)):
        for flow, sender in enumerate(senders):
            sender.send(bytes(_size(flow, number)))
        _until(start + (number + 1) * float(seconds) / int(rounds))


def connections(port, count, *addresses):
    for number in range(int(count)):
        with socket.create_connection((addresses[number % 2], int(port))) as connection:
            connection.sendall(bytes(REQUEST))
            _receive(connection, ANSWER)
            connection.shutdown(socket.SHUT_WR)
            _receive(connection, 1)


if __name__ == "__main__":
    {"serve": serve, "flows": flows, "long": long, "connections": connections}[sys.argv[1]](*sys.argv[2:])
