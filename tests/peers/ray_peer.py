"""Ray with two processors: arrays in its shared memory, two actors that compute with one compiled kernel.

Small operations are submitted by eight threads, several in flight for each. Their results are returned, or kept in the actor
as darray's stay with the workers, whichever is faster here, as with the number of pieces and of operations in flight.
"""

import os
import threading
import time

os.environ |= {
    "RAY_AUTH_MODE": "disabled",  # else it leaves a token in the home directory
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
}

import numpy as np
import ray
from peer import best_of, fused_kernel, serve, summary, timed, values

ACTORS = 2
PIECES = (1, 2, 4)
STORE_BYTES = 2 << 30
SUBMITTERS = 8
SMALL = 10_000
IN_FLIGHT = (1, 8, 64)

# Results that an actor keeps, so that none is dropped at once; the same as arrays that darray's clients take in turn.
KEPT = 16

CALIBRATION_S = 0.5


@ray.remote(num_cpus=1)
class Actor:
    def __init__(self):
        self.kernel = fused_kernel()
        self.kept = {}

    def apply(self, x):
        return self.kernel(x)

    def hold(self, arrays):
        self.arrays = [x.copy() for x in arrays]

    def apply_and_keep(self, i):
        self.kept[i % KEPT] = self.kernel(self.arrays[i % len(self.arrays)])

    def result(self, i):
        return self.kept[i % KEPT]


class Peer:
    def __init__(self):
        ray.init(
            num_cpus=ACTORS,
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
            _temp_dir=os.getcwd(),
        )
        self.actors = [Actor.remote() for _ in range(ACTORS)]
        self.arrays = [values(i, SMALL) for i in range(KEPT)]
        self.stored = [ray.put(x) for x in self.arrays]
        ray.get([actor.hold.remote(self.arrays) for actor in self.actors])
        self.own = np.zeros(0)
        self.pieces = 1

    def calibrate(self, n):
        x = values(0, n)

        def whole(pieces):
            self.pieces = pieces
            times, _ = self.measure(x)
            return times.values()

        def small(candidate):
            self.in_flight, self.way = candidate
            return [1 / self.rate(CALIBRATION_S)]

        self.pieces = best_of(PIECES, whole)
        ways = [(count, way) for count in IN_FLIGHT for way in (self.returned, self.kept)]
        self.in_flight, self.way = best_of(ways, small, rounds=1)
        results = "kept in the actors" if self.way == self.kept else "returned"
        return {
            "settings": f"pieces of an array: {self.pieces}; small operations in flight for each submitter: "
            f"{self.in_flight}, their results {results}"
        }

    def one_round(self, n, seed):
        times, result = self.measure(values(seed, n))
        return {"ms": times, "result": summary(result)}

    def measure(self, x):
        parts = np.array_split(x, self.pieces)
        if self.own.size != x.size:
            self.own = np.zeros(x.size)

        def apply1():
            results = [self.actors[i % ACTORS].apply.remote(part) for i, part in enumerate(stored)]
            ray.wait(results, num_returns=len(results))
            return results

        def get():
            at = 0
            for part in ray.get(results):
                self.own[at : at + part.size] = part
                at += part.size

        def get_fresh():
            fresh = np.empty(x.size)
            at = 0
            for part in ray.get(results):
                fresh[at : at + part.size] = part
                at += part.size
            return fresh

        stored, create = timed(lambda: [ray.put(part) for part in parts])
        results, apply_ms = timed(apply1)
        _, view = timed(lambda: ray.get(results))
        self.own[:] = 0
        _, owned = timed(get)
        _, fresh = timed(get_fresh)
        times = {"create_1": create, "apply1": apply_ms, "view": view, "get": owned, "get_fresh": fresh}
        return times, self.own

    def returned(self, submitter, i):
        return self.actors[submitter % ACTORS].apply.remote(self.stored[i % KEPT])

    def kept(self, submitter, i):
        return self.actors[submitter % ACTORS].apply_and_keep.remote(i)

    def operations(self, seconds):
        rate = self.rate(seconds)
        # Of what was just made, as far as it is still there.
        if self.way == self.kept:
            result = ray.get(self.actors[0].result.remote(0))
        else:
            result = ray.get(self.returned(0, 0))
        return {"per_second": rate, "result": summary(result)}

    def rate(self, seconds):
        """Operations a second of all submitters together, those in flight at the end included."""
        done = [0] * SUBMITTERS
        end = time.perf_counter() + seconds

        def submit(submitter):
            while time.perf_counter() < end:
                waiting = [self.way(submitter, done[submitter] + i) for i in range(self.in_flight)]
                ray.wait(waiting, num_returns=len(waiting), fetch_local=False)
                done[submitter] += len(waiting)

        threads = [threading.Thread(target=submit, args=(submitter,)) for submitter in range(SUBMITTERS)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / (time.perf_counter() - begun)


peer = Peer()
serve(
    f"Ray {ray.__version__}, {ACTORS} actors",
    {"calibrate": peer.calibrate, "round": peer.one_round, "operations": peer.operations},
)
ray.shutdown()
