"""The sine experiment by the plain NumPy loop; prints the seconds that the epochs, its argument, took."""

import sys
import time

from tests.campaigns.benchmarks.networks import ONLINE
from tests.campaigns.benchmarks.peers.numpy_peer import NumPyLoop

_, train = next(NumPyLoop().trainings(ONLINE))
began = time.perf_counter()
train(int(sys.argv[1]))
print(time.perf_counter() - began)
