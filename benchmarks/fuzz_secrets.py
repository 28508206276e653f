"""Secrets in what comes out, whichever way a server fails. Ends with 1 if one came out.

    python -m benchmarks.fuzz_secrets [--seed N] [--runs N] [--cases N] [--only WORDS] [--no-commands]

Each case has secrets of its own: values of variables, headers and options, passwords and keys in URLs, OAuth tokens and
client secrets, passwords of proxies, a hook's headers. Its server quotes them in one way, and all that comes out is
searched: logs of all libraries at DEBUG, errors with causes, contexts and variables of frames, events, spans, the
catalog, the state but for the store of tokens, reprs and dumps. Then the same for the command and for a gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.fuzzing.leaks import Fuzz, Leak, cases, watch_spans
from benchmarks.fuzzing.leaks_of_commands import CommandFuzz


async def in_process(options: argparse.Namespace, folder: Path) -> list[Leak]:
    """All cases, or so many of them; what leaked."""
    fuzz, leaks = Fuzz(options.seed, folder), list[Leak]()
    chosen = [case for case in cases() if options.only in str(case)] * options.runs
    if options.cases:
        chosen = random.Random(options.seed).sample(chosen, min(options.cases, len(chosen)))
    for case in chosen:
        leaks += await fuzz.run(case)
    print(f"{len(chosen)} cases, {fuzz.texts:,} texts: {len(leaks)} with a secret", flush=True)
    return leaks


def by_commands(options: argparse.Namespace, folder: Path) -> list[Leak]:
    """The command and the gateway on each kind of child; what leaked."""
    fuzz, leaks = CommandFuzz(options.seed, folder), list[Leak]()
    ways = fuzz.ways()
    for way in ways:
        leaks += fuzz.run(way)
        leaks += asyncio.run(fuzz.run_served(way))
    print(f"{len(ways)} servers for commands and gateway, {fuzz.texts:,} texts: {len(leaks)} with a secret", flush=True)
    return leaks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1, help="of each case, each with other secrets")
    parser.add_argument("--cases", type=int, default=0, help="so many of them, drawn by the seed; 0: all")
    parser.add_argument("--only", default="", help="cases with these words in their name")
    parser.add_argument("--no-commands", action="store_true")
    options = parser.parse_args()
    watch_spans()
    # What is logged goes to the search alone.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    with tempfile.TemporaryDirectory() as folder:
        leaks = asyncio.run(in_process(options, Path(folder)))
        if not options.no_commands:
            leaks += by_commands(options, Path(folder))
    shown: collections.Counter[tuple[str, str]] = collections.Counter()
    for leak in leaks:
        place = (leak.way.partition(" at ")[0], leak.place)
        shown[place] += 1
        if shown[place] == 1:
            print(f"    {leak}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
