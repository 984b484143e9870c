"""Dask with two workers of one thread each. The first word says how it is used.

plain: as its documentation begins: LocalCluster, arrays, persist, compute; all settings as they come.

tuned: scheduler and workers are processes of their own, without nannies, each worker on its core. Chunks are scattered straight to the workers without
hashing them and gathered straight from them, one compiled kernel for each chunk is submitted as a future. A second copy is
scattered too, or made from the first by `replicate`, whichever is faster here, as with the number of chunks. Nothing steals,
spills, compresses, profiles or drops copies meanwhile, and the allocator keeps large memory, so that it is warm again.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from multiprocessing import resource_tracker
from pathlib import Path

# For all processes of the tuned one: dask reads it when it is imported, the C library when the process starts.
TUNED = {
    "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False",
    "DASK_DISTRIBUTED__SCHEDULER__ACTIVE_MEMORY_MANAGER__START": "False",  # it would drop the second copies
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__DISK": "False",
    "DASK_DISTRIBUTED__COMM__COMPRESSION": "False",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),  # chunks come from the heap,
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),  # which keeps what is freed
    "MALLOC_TOP_PAD_": str(64 << 20),
    "MALLOC_ARENA_MAX": "1",
}
if sys.argv[1:] == ["tuned"] and not TUNED.items() <= os.environ.items():
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | TUNED)

import dask
import dask.array as da
import numpy as np
from peer import best_of, example1, keep_on_core, serve, summary, timed, two_arrays, uniform_summary, values

WORKERS = 2
CHUNKS = (2, 4, 8, 16)
START_TIMEOUT_S = 60

# The client holds back what it has to say for 10 ms after it has said something, also that results are not needed any more. No
# step shall wait for what another one has left behind.
BATCH_S = 0.02

class Plain:
    what = "plain"

    def __init__(self):
        from distributed import Client, LocalCluster

        start_tracker_apart()
        cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None)
        self.client = Client(cluster)

    def close(self):
        self.client.close()
        self.client.cluster.close()

    def calibrate(self, n):
        return {"settings": "one chunk for each worker"}

    calibrate_compute = calibrate

    def one_round(self, n, seed):
        from distributed import wait

        x = values(seed, n)

        def create():
            array = da.from_array(x, chunks=-(-n // WORKERS)).persist()
            wait(array)
            return array

        def apply1():
            result = example1(array).persist()
            wait(result)
            return result

        array, create_ms = timed(create)
        result, apply_ms = timed(apply1)
        found, get_ms = timed(result.compute)
        return {"ms": {"create_1": create_ms, "apply1": apply_ms, "get": get_ms}, "result": summary(found)}

    def compute(self, n, seed):
        from distributed import wait

        chunks = -(-n // WORKERS)
        x, y = (da.from_array(array, chunks=chunks).persist() for array in two_arrays(seed, n))
        wait([x, y])
        ms, check = {}, {}

        def kept(name, array, told):
            """Computes an array that stays with the workers; then it is read, and dropped."""
            def work():
                result = array().persist()
                wait(result)
                return result

            result, ms[name] = timed(work)
            check[name] = told(result.compute())

        def reduced(name, *numbers):
            found, ms[name] = timed(lambda: dask.compute(*(number() for number in numbers)))
            check[name] = float(found[0]) if len(found) == 1 else list(map(float, found))

        kept("generate", lambda: da.random.default_rng(seed).random(n, chunks=chunks), uniform_summary)
        kept("arange", lambda: da.arange(n, dtype=np.float64, chunks=chunks), summary)
        reduced("sum", x.sum)
        reduced("reduce5_fused", x.sum, x.min, x.max, x.mean, x.std)
        kept("apply1", lambda: example1(x), summary)
        reduced("apply1_sum", lambda: example1(x).sum())
        reduced("dot", lambda: (x * y).sum())
        return {"ms": ms, "check": check}


class Tuned:
    what = "tuned"

    def __init__(self):
        from distributed import Client

        self.processes = []
        scheduler = Path("scheduler.json").absolute()
        self.start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", scheduler)
        wait_for(scheduler)
        for number in range(WORKERS):
            words = ["--nworkers", "1", "--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--no-dashboard"]
            self.start("dask_worker", "--scheduler-file", scheduler, "--host", "127.0.0.1", *words, core=number)
        self.client = Client(scheduler_file=str(scheduler), direct_to_workers=True)
        self.client.wait_for_workers(WORKERS, timeout=START_TIMEOUT_S)
        self.workers = sorted(self.client.scheduler_info()["workers"])
        self.chunks, self.second_copy = CHUNKS[0], self.scatter_twice
        self.compute_chunks = CHUNKS[0]
        self.names = 0

    def start(self, program, *words, core=None):
        command = [sys.executable, "-m", f"distributed.cli.{program}", *map(str, words)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
        on_core = None if core is None else lambda: keep_on_core(0, core)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, preexec_fn=on_core)
        self.processes.append(process)

    def close(self):
        self.client.close()
        for process in self.processes:
            process.kill()

    def calibrate(self, n):
        x = values(0, n)

        def measure(candidate):
            self.chunks, self.second_copy = candidate
            times, _ = self.measure(x)
            return times.values()

        ways = (self.scatter_twice, self.replicate)
        self.chunks, self.second_copy = best_of([(chunks, way) for chunks in CHUNKS for way in ways], measure)
        way = "scattered to both workers" if self.second_copy == self.scatter_twice else "replicated from the first"
        return {"settings": f"{self.chunks} chunks, the second copy {way}"}

    def one_round(self, n, seed):
        times, result = self.measure(values(seed, n))
        return {"ms": times, "result": summary(np.concatenate(result))}

    def measure(self, x):
        from distributed import wait

        import kernels

        parts = np.array_split(x, self.chunks)

        def apply1():
            results = [self.client.submit(kernels.apply_fused, chunk, pure=False) for chunk in chunks]
            wait(results)
            return results

        twice, create_2 = timed(lambda: self.second_copy(parts))
        if not all(len(holders) == 2 for holders in self.client.who_has(twice).values()):
            raise RuntimeError("there are not two copies of each chunk")
        del twice
        chunks, create_1 = timed(lambda: self.client.scatter(parts, direct=True, hash=False))
        results, apply_ms = timed(apply1)
        # Not put together into one array, which ours is: that is for the user of Dask to do, if at all.
        found, get_ms = timed(lambda: self.client.gather(results, direct=True))
        return {"create_1": create_1, "create_2": create_2, "apply1": apply_ms, "get": get_ms}, found

    def scatter_twice(self, parts):
        """To both workers at once, under the same keys."""
        self.names += 1
        named = {f"chunk-{self.names}-{i}": part for i, part in enumerate(parts)}

        async def to_both():
            ways = (self.client._scatter(named, workers=[worker], direct=True, hash=False) for worker in self.workers)
            return await asyncio.gather(*ways)

        first, _ = self.client.sync(to_both)
        return list(first.values())

    def replicate(self, parts):
        """To one worker each, and from there to the other one."""
        chunks = self.client.scatter(parts, direct=True, hash=False)
        self.client.replicate(chunks, n=2)
        return chunks

    def calibrate_compute(self, n):
        x, y = two_arrays(0, n)

        def measure(chunks):
            times, _ = self.measure_compute(x, y, 0, chunks)
            return times.values()

        self.compute_chunks = best_of(CHUNKS, measure)
        return {"settings": f"{self.compute_chunks} chunks to compute on"}

    def compute(self, n, seed):
        x, y = two_arrays(seed, n)
        times, found = self.measure_compute(x, y, seed, self.compute_chunks)
        told = {"generate": uniform_summary, "arange": summary, "apply1": summary}
        check = {name: told[name](np.concatenate(value)) if name in told else value for name, value in found.items()}
        return {"ms": times, "check": check}

    def measure_compute(self, x, y, seed, chunks):
        """One compiled kernel for each chunk; what it gives is read and put together here, or stays with its worker."""
        from distributed import wait

        import kernels

        starts = [len(x) * i // chunks for i in range(chunks + 1)]
        spans = [(begin, end - begin) for begin, end in zip(starts, starts[1:])]
        xs, ys = (self.client.scatter([a[i : i + size] for i, size in spans], direct=True, hash=False) for a in (x, y))
        ms, found = {}, {}

        def kept(name, kernel, words):
            def work():
                results = self.client.map(kernel, *zip(*words), pure=False)
                wait(results)
                return results

            time.sleep(BATCH_S)
            results, ms[name] = timed(work)
            found[name] = self.client.gather(results, direct=True)

        def reduced(name, kernel, words, combine):
            def work():
                return combine(self.client.gather(self.client.map(kernel, *zip(*words), pure=False), direct=False))

            time.sleep(BATCH_S)
            found[name], ms[name] = timed(work)

        kept("generate", kernels.uniform, [(seed, *span) for span in spans])
        kept("arange", kernels.arange, spans)
        reduced("sum", kernels.total, zip(xs), sum)
        reduced("reduce5_fused", kernels.five, zip(xs), kernels.five_of)
        kept("apply1", kernels.apply_fused, zip(xs))
        reduced("apply1_sum", kernels.apply_total, zip(xs), sum)
        reduced("dot", kernels.dot, zip(xs, ys), sum)
        return ms, found


def start_tracker_apart():
    """Starts the process that removes semaphores of multiprocessing, in a process group of its own: when ours is killed, it still
    does that, and ends."""
    group = os.getpgrp()
    os.setpgid(0, 0)
    resource_tracker.ensure_running()
    os.setpgid(0, group)


def wait_for(file):
    end = time.monotonic() + START_TIMEOUT_S
    while not file.exists():
        if time.monotonic() > end:
            raise RuntimeError("the scheduler does not start")
        time.sleep(0.02)


def main():
    peer = {"plain": Plain, "tuned": Tuned}[sys.argv[1]]()
    with contextlib.closing(peer):
        what = f"Dask {dask.__version__}, {peer.what}, {WORKERS} workers of one thread"
        handlers = {
            "calibrate": peer.calibrate,
            "round": peer.one_round,
            "calibrate_compute": peer.calibrate_compute,
            "compute": peer.compute,
        }
        serve(what, handlers)


if __name__ == "__main__":  # the plain one's workers are started by multiprocessing, which imports this file
    main()
