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

import kernels
import numpy as np
import ray
from peer import CORES, best_of, serve, summary, timed, two_arrays, uniform_summary, values

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
    def __init__(self, core):
        os.sched_setaffinity(0, {core})
        self.kept = {}

    def apply(self, x):
        return kernels.apply_fused(x)

    def hold(self, arrays):
        self.arrays = [x.copy() for x in arrays]

    def apply_and_keep(self, i):
        self.kept[i % KEPT] = kernels.apply_fused(self.arrays[i % len(self.arrays)])

    def result(self, i):
        return self.kept[i % KEPT]

    def take(self, start, x, y):
        """Its part of two arrays, and memory for what it makes of them."""
        self.start, self.x, self.y = start, x.copy(), y.copy()
        if not hasattr(self, "out") or self.out.size != x.size:
            self.out = np.ones(x.size)

    def make(self, what, seed, returned):
        """An array that stays here, in memory that is there already, or goes to the shared memory."""
        match what:
            case "generate":
                kernels.uniform_into(seed, self.start, self.out)
            case "arange":
                kernels.arange_into(self.start, self.out)
            case "apply1":
                kernels.example1_into(self.x, self.out)
        return self.out if returned else None

    def made(self):
        return self.out

    def reduce(self, what):
        match what:
            case "sum":
                return kernels.total(self.x)
            case "reduce5_fused":
                return kernels.five(self.x)
            case "apply1_sum":
                return kernels.apply_total(self.x)
            case "dot":
                return kernels.dot(self.x, self.y)


class Peer:
    def __init__(self):
        ray.init(
            num_cpus=ACTORS,
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
            _temp_dir=os.getcwd(),
        )
        self.actors = [Actor.remote(CORES[number % len(CORES)]) for number in range(ACTORS)]
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

    def calibrate_compute(self, n):
        x, y = two_arrays(0, n)

        def measure(returned):
            self.return_arrays = returned
            return self.measure_compute(x, y, 0)["ms"].values()

        self.return_arrays = best_of((False, True), measure)
        where = "returned into the shared memory" if self.return_arrays else "kept in the actors"
        return {"settings": f"computed arrays are {where}"}

    def compute(self, n, seed):
        return self.measure_compute(*two_arrays(seed, n), seed)

    def measure_compute(self, x, y, seed):
        middle = x.size // ACTORS
        bounds = [(i * middle, x.size if i == ACTORS - 1 else (i + 1) * middle) for i in range(ACTORS)]
        taken = [a.take.remote(at, x[at:end], y[at:end]) for a, (at, end) in zip(self.actors, bounds)]
        ray.get(taken)
        ms, check = {}, {}

        def kept(name, told):
            def work():
                made = [actor.make.remote(name, seed, self.return_arrays) for actor in self.actors]
                ray.wait(made, num_returns=len(made), fetch_local=False)
                return made

            made, ms[name] = timed(work)
            parts = made if self.return_arrays else [actor.made.remote() for actor in self.actors]
            check[name] = told(np.concatenate(ray.get(parts)))

        def reduced(name, combine):
            found, ms[name] = timed(lambda: combine(ray.get([actor.reduce.remote(name) for actor in self.actors])))
            check[name] = found

        kept("generate", uniform_summary)
        kept("arange", summary)
        reduced("sum", sum)
        reduced("reduce5_fused", kernels.five_of)
        kept("apply1", summary)
        reduced("apply1_sum", sum)
        reduced("dot", sum)
        return {"ms": ms, "check": check}

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
    {
        "calibrate": peer.calibrate,
        "round": peer.one_round,
        "operations": peer.operations,
        "calibrate_compute": peer.calibrate_compute,
        "compute": peer.compute,
    },
)
ray.shutdown()
