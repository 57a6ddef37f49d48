"""What the search for pictures that look alike costs. Run: python tests/bench/near.py [HASHES]."""

import random
import resource
import sys
import time

from watcherd.imaging import near


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    chance = random.Random(1)
    hashes = [chance.getrandbits(64) for _ in range(many * 9 // 10)]
    twins = chance.sample(hashes, many - len(hashes))  # every tenth has a near one
    hashes += [one ^ sum(1 << bit for bit in chance.sample(range(64), 3)) for one in twins]
    hashes = list(dict.fromkeys(hashes))
    for bits in (2, 4, 6, 8, 10, 12, 16):
        before = time.process_time()
        groups = sum(1 for _ in near.near_groups(hashes, bits))
        seconds = time.process_time() - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        bands = near._bands_for(many, bits)
        print(f"{bits:2} bits, {bands:2} bands: {seconds:7.2f} s, {groups} groups, peak {peak} MB", flush=True)


if __name__ == "__main__":
    main()
