# SPDX-License-Identifier: AGPL-3.0-only
"""ClickHouse inside one process of a host: it reads queries, as JSON in lines, and prints the answers."""

import json
import re
import subprocess
import sys

if __name__ != "__main__":
    from host import CACHE, EXAMPLES, Count, poll


def statements(text):
    """The statements of an example, without its comments."""
    text = re.sub(r"(?m)^\s*--.*$", "", text)
    return [statement.strip() for statement in text.split(";") if statement.strip()]


class ClickHouse:
    def __init__(self, host):
        self.process = host.start(
            "clickhouse.log", CACHE / "venv" / "bin" / "python", __file__, host.folder / "clickhouse",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self.ask("SELECT version()")[0][0]

    def ask(self, query):
        """Rows of an answer, as lists of texts."""
        print(json.dumps(query), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise RuntimeError(f"{query}: {answer['error']}")
        return [line.split("\t") for line in answer["rows"].splitlines()]

    def run_example(self, name):
        for statement in statements((EXAMPLES / name).read_text()):
            try:
                self.ask(statement)
            except RuntimeError as error:
                # the first table of the engine Kafka reports this, and exists
                if "Shutdown was called" not in str(error):
                    raise

    def stored(self, port=None):
        """The Count of each egress interface, of the flows from or to a port, and the number of records."""
        where = f"WHERE src_port = {port} OR dst_port = {port}" if port else ""
        rows = self.ask(f"SELECT out_if, sum(packets), sum(bytes), count() FROM rfm.flows {where} GROUP BY out_if")
        return {int(row[0]): Count(row[1], row[2]) for row in rows}, sum(int(row[3]) for row in rows)


def _serve(folder):
    from chdb.session import Session  # only in the environment of this process

    # background work of ClickHouse must not print between the answers
    session = Session(folder)
    for line in sys.stdin:
        try:
            answer = {"rows": session.query(json.loads(line), "TSV").data()}
        except Exception as error:  # pylint: disable=broad-except
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
