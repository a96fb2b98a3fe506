"""The sine experiment by the plain NumPy loop; prints the seconds that the epochs, its argument, took."""

import sys
import time

from tests.benchmarks.networks import ONLINE
from tests.benchmarks.peers.numpy_peer import NumPyLoop

train = NumPyLoop().training(ONLINE)
assert train is not None
began = time.perf_counter()
train(int(sys.argv[1]))
print(time.perf_counter() - began)
