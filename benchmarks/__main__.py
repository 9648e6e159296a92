"""Every measurement, one after the other, or those that are named: python -m benchmarks NAME.

What each found is kept as JSON in build/benchmarks. Nothing here judges: a goal that is missed is printed as such, and
the exit status is 1 only where a measurement broke.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.harness import RESULTS, ROOT

BENCHMARKS = {
    "stages": "what each stage of the journey takes of a core",
    "ingest": "committed ingest on one core, beside a plain consumer and the floor of its stages",
    "side_by_side": "committed ingest beside Spark and the Kafka Connect sink, on one broker (Java, Maven)",
    "query": "a window of one symbol, beside PyIceberg and DuckDB",
    "capture": "from a capture on disk to the answer",
    "api": "point queries over HTTP at saturation and at half of it, beside DuckDB called directly",
    "growth": "costs by rows, commits, symbols and members",
    "decode": "decoding, beside fastavro",
    "produce": "the producer, beside the bare client",
    "sequence": "the sequence check",
    "deduplication": "known ids",
    "write": "write and commit, beside a bare Parquet file",
    "commit": "commits by the number before them",
    "state_cache": "state checkpoints from each store (containers)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run those named, or all; how many broke decides the exit status."""
    described = "\n".join(f"  {name:14} {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", epilog=described, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args(arguments).names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    broke = []
    for name in names:
        print(f"\n--- {name}: {BENCHMARKS[name]}", flush=True)
        started = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(RESULTS / f"{name}.json")]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        if status:
            broke.append(name)
    if broke:
        print(f"broke: {', '.join(broke)}")
    return int(bool(broke))


if __name__ == "__main__":
    sys.exit(main())
