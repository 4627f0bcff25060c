"""A service under load: clients that ask one question after another, on loopback. See README.md."""

import argparse
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np
import psutil

from benchmarks import common

WARM_UP = 0.2  # share of the seconds that is not counted: memory and threads are allocated then
TIMEOUT = 60  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service_load", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", help="of a student")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--questions", type=int, default=1, help="of a request, about one text each (default: 1)")
    parser.add_argument("--squad", type=Path, help="SQuAD JSON file with the questions")
    parser.add_argument("serve", nargs="*", metavar="OPTION", help="options of `serve`, after --")
    args = parser.parse_args()
    source, records = common.questions(args.squad, "validation", 1000)
    command = [sys.executable, "-m", "pipeline", "serve", args.folder, "--port", "0", *args.serve]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            port = int(re.findall(r":(\d+) ", process.stdout.readline())[0])
            report = load(port, psutil.Process(process.pid), bodies(records, args.questions), args)
        finally:
            process.terminate()
    print(json.dumps({"source": source, **vars(args), **report}, indent=1, default=str))


def bodies(records: list[dict], questions: int) -> list[bytes]:
    """Requests with some of the records each."""
    groups = [records[i : i + questions] for i in range(0, len(records) - questions + 1, questions)]
    return [
        json.dumps(
            {
                "contexts": [record["context"] for record in group],
                "questions": [{"question": record["question"], "context": i} for i, record in enumerate(group)],
            }
        ).encode()
        for group in groups
    ]


def load(port: int, process: psutil.Process, requests: list[bytes], args: argparse.Namespace) -> dict:
    """Errors, latency, throughput, and the memory of the service after the warm-up, at its highest and at the end."""
    statuses, seconds, numbers = Counter[str](), [], count()
    begin = time.monotonic()
    measured, end = begin + WARM_UP * args.seconds, begin + args.seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        while (sent := time.monotonic()) < end:
            try:
                body = requests[next(numbers) % len(requests)]
                connection.request("POST", "/answer", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
                status = str(response.status)
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
                connection.close()
            statuses[status] += 1
            if sent >= measured:
                seconds.append(time.monotonic() - sent)

    threads = [threading.Thread(target=client) for _ in range(args.clients)]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.1)
        if time.monotonic() >= measured:
            memory.append(process.memory_info().rss / common.MB)
    for thread in threads:
        thread.join()
    p50, p99 = 1000 * np.quantile(seconds, [0.5, 0.99])
    half = memory[len(memory) // 2]
    return {
        "statuses": dict(statuses),
        "errors": statuses.total() - statuses["200"],
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "max_ms": round(1000 * max(seconds), 1),
        "questions_per_second": round(args.questions * len(seconds) / (time.monotonic() - measured), 1),
        "rss_mb": {"after_warm_up": round(memory[0], 1), "at_half": round(half, 1), "at_end": round(memory[-1], 1)},
        "rss_growth_mb": round(memory[-1] - memory[0], 1),
        "rss_growth_second_half_mb": round(memory[-1] - half, 1),
    }


if __name__ == "__main__":
    main()
