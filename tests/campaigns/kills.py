"""Kill processes while they save: ``python -m tests.campaigns.kills --kills 500``.

A child saves one model after the other to the same path, each with all its numbers equal to a count, and says through a
pipe which one is done. After SIGKILL at a random moment the file must hold one whole model, no older than the last
one that was said to be done.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from minidl import Dense, Sequential, load, save
from minidl.errors import FileFormatError

WIDTH = 60


class Result(NamedTuple):
    tried: int
    during: int
    lost: list[str]


def numbered(count: int) -> Sequential:
    """A model whose numbers are all the same."""
    model = Sequential(Dense(WIDTH, WIDTH), Dense(WIDTH, WIDTH))
    for parameter in model.parameters():
        parameter.value = parameter.value * 0 + count
    return model


def save_for_ever(path: Path, first: int, done: int) -> None:
    """Save one model after the other, and say which are done."""
    model = numbered(first)
    count = first
    while True:
        save(model, path)
        os.write(done, count.to_bytes(8, "little"))
        count += 1
        for parameter in model.parameters():
            parameter.value = parameter.value * 0 + count


def check(path: Path, least: int) -> tuple[int, str]:
    """Return the count in the file, and what is wrong with it."""
    try:
        model = load(path)
    except (FileFormatError, OSError) as error:
        return least, f"{error}"
    counts = {float(number) for p in model.parameters() for number in p.value.flat}
    if len(counts) != 1:
        return least, f"a mixture of {sorted(counts)}"
    found = int(counts.pop())
    return found, "" if found >= least else f"model {found}, though {least} was done"


def kill_savers(kills: int, seed: int = 0) -> Result:
    """Start and kill a saver many times over the same file."""
    draw = random.Random(seed)
    lost: list[str] = []
    during = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save(numbered(0), path)
        count = 0
        for _ in range(kills):
            ours, theirs = os.pipe()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the child uses none of the parent's threads
                child = os.fork()
            if child == 0:
                try:
                    os.close(ours)
                    save_for_ever(path, count + 1, theirs)
                finally:
                    os._exit(1)
            os.close(theirs)
            select.select([ours], [], [])
            time.sleep(draw.random() * 0.02)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said = b""
            while part := os.read(ours, 1 << 16):
                said += part
            os.close(ours)
            least = int.from_bytes(said[-8:], "little") if said else count
            count, wrong = check(path, least)
            if wrong:
                lost.append(wrong)
                save(numbered(count), path)
            left = [name for name in os.listdir(folder) if name.endswith(".tmp")]
            during += bool(left)
            for name in left:
                os.unlink(os.path.join(folder, name))
    return Result(kills, during, lost)


def main() -> None:
    """Kill, and print one line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = kill_savers(options.kills, options.seed)
    for text in result.lost[:3]:
        print(text)
    print(f"kills: {result.tried} tried, {result.during} in the middle of a file, {len(result.lost)} lost")
    sys.exit(bool(result.lost))


if __name__ == "__main__":
    main()
