# SPDX-License-Identifier: AGPL-3.0-only
"""Runs rfm with real collectors, brokers and stores, and the unchanged files of docs/examples.

    python3 tests/scale RFM [PIPELINE ...]     all pipelines side by side, or these

Exits with 1 if a store differs from the interface counters.
"""

import shutil
import sys
import threading
import time
import traceback
from pathlib import Path

from kafka_pipelines import Goflow2, Nfacctd
from nfdump import Nfdump
from prometheus import Prometheus
from router import Network

PIPELINES = {pipeline.name: pipeline for pipeline in (Nfacctd, Goflow2, Nfdump, Prometheus)}


def run(pipeline, binary):
    """Returns whether all was as expected; keeps the files of a run that failed."""
    start = time.monotonic()
    with Network(pipeline.name) as network:
        try:
            test = pipeline(network)
            test.start()
            network.start_rfm(binary, export=pipeline.exports)
            test.run()
        except Exception:  # pylint: disable=broad-except
            print(f"{traceback.format_exc()}{pipeline.name}: FAILED after {time.monotonic() - start:.0f} s; "
                  f"its logs are in {network.folder}", flush=True)
            return False
    shutil.rmtree(network.folder, ignore_errors=True)
    print(f"{pipeline.name}: ok, {time.monotonic() - start:.0f} s", flush=True)
    return True


def main(binary, *names):
    unknown = set(names) - set(PIPELINES)
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(PIPELINES)}")
    chosen = [PIPELINES[name] for name in names or PIPELINES]
    results = {}
    path = Path(binary).resolve()

    def one(pipeline):
        results[pipeline.name] = run(pipeline, path)

    # the hosts of a pipeline end with its thread
    threads = [threading.Thread(target=one, args=(pipeline,), daemon=True) for pipeline in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = sum(results.values())
    print(f"{passed} passed, {len(chosen) - passed} failed")
    sys.exit(0 if passed == len(chosen) else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
