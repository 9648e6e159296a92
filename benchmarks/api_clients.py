"""Clients of an API in a process of their own; prints what they saw as JSON.

    python -m benchmarks.api_clients --url URL --clients 8 --seconds 10 [--rate 20] < QUESTIONS

A question is a path with its parameters, one a line; clients take them in turn, each on a connection of its own that is
kept. Without a rate each asks again once it is answered: the answers a second are what the API can do. With one,
questions are due at random times of that rate, whoever is free asks the next, and latency counts from when it was due.
"""

import argparse
import http.client
import itertools
import json
import random
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence

TIMEOUT_SECONDS = 60.0
OK = 200


class Clients:
    """So many clients, who share one list of questions and of moments.

    Args:
        url: of the API.
        questions: paths with parameters.
        seconds: how long they ask.
        rate: questions a second; 0 asks as fast as answers come.
    """

    def __init__(self, url: str, questions: Sequence[str], seconds: float, rate: float) -> None:
        address = urllib.parse.urlparse(url)
        self._host, self._port = str(address.hostname), address.port
        self._questions = itertools.cycle(questions)
        self._began = time.perf_counter()
        self._moments = self._due(seconds, rate)
        self._taking = threading.Lock()
        self.latencies_seconds: list[float] = []
        self.failed = 0

    def ask(self) -> None:
        """One client, until the time is over."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        while True:
            with self._taking:
                due = next(self._moments, None)
                question = next(self._questions)
            if due is None:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.request("GET", question)
            answer = connection.getresponse()
            answer.read()
            self.latencies_seconds.append(time.perf_counter() - due)
            self.failed += answer.status != OK

    def _due(self, seconds: float, rate: float) -> Iterator[float]:
        chance, moment = random.Random(1), self._began
        while True:
            moment = moment + chance.expovariate(rate) if rate else time.perf_counter()
            if moment > self._began + seconds:
                return
            yield moment


def main() -> None:
    """Ask, and print answers a second, latencies and how many failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api_clients")
    parser.add_argument("--url", required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    clients = Clients(options.url, sys.stdin.read().split(), options.seconds, options.rate)
    started = time.perf_counter()
    threads = [threading.Thread(target=clients.ask) for _ in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    answers = len(clients.latencies_seconds)
    seen = {"answers_per_second": answers / took, "latencies_seconds": clients.latencies_seconds}
    print(json.dumps({**seen, "failed": clients.failed}))


if __name__ == "__main__":
    main()
