"""What Dask and Ray do when a worker dies: three workers, an array in three pieces that tasks have made, its sum asked for again and
again. The word says which: dask or ray. README.md in this folder has the requests.

Neither keeps a second copy of what tasks have made: both make it again. What was given to them and not made by them (`scatter` of
Dask) cannot be made again; what becomes of that is told too.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

WORKERS = 3

# How long an answer may take before it counts as none.
ANSWER_TIMEOUT_S = 120

# A fault comes at any moment of a request.
MOMENT_MAX_S = 0.02

START_TIMEOUT_S = 60


def spans(n):
    starts = [n * i // WORKERS for i in range(WORKERS + 1)]
    return [(begin, end - begin) for begin, end in zip(starts, starts[1:])]


def felt(ask, n, fault):
    """Asks again and again; the milliseconds from the fault to the end of the first request that began after it."""
    expected = float(n * (n - 1) // 2)  # exact in any order

    def asked():
        found = ask()
        if found != expected:
            raise RuntimeError(f"the sum is {found} and not {expected}")

    made = []

    def make():
        time.sleep(random.uniform(0, MOMENT_MAX_S))
        made.append(time.perf_counter())
        fault()

    asked()
    thread = threading.Thread(target=make)
    thread.start()
    while thread.is_alive():
        asked()
    thread.join()
    asked()
    return (time.perf_counter() - made[0]) * 1e3


class Dask:
    def __init__(self):
        import dask
        from distributed import Client

        self.what = f"Dask {dask.__version__}, {WORKERS} workers of one thread"
        self.scheduler, self.workers, self.started = Path("scheduler.json").absolute(), {}, 0
        self.processes = [self.run("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
        end = time.monotonic() + START_TIMEOUT_S
        while not self.scheduler.exists():
            if time.monotonic() > end:
                raise RuntimeError("the scheduler does not start")
            time.sleep(0.02)
        for _ in range(WORKERS):
            self.start_worker()
        self.client = Client(scheduler_file=str(self.scheduler))
        self.client.wait_for_workers(WORKERS, timeout=START_TIMEOUT_S)

    def run(self, program, *words):
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(self.scheduler), *words]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)

    def start_worker(self):
        self.started += 1
        name = f"worker{self.started}"
        words = ["--name", name, "--nworkers", "1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        self.workers[name] = self.run("dask_worker", *words)

    def close(self):
        self.client.close()
        for process in [*self.processes, *self.workers.values()]:
            process.kill()

    def kill_and_replace(self, pieces, work):
        """Does the work with a function that kills a worker that has one of the pieces; then there is another one."""
        holder = next(iter(self.client.who_has(pieces).values()))[0]
        name = self.client.scheduler_info(n_workers=-1)["workers"][holder]["name"]
        process = self.workers.pop(name)
        result = work(lambda: process.send_signal(signal.SIGKILL))
        process.wait()
        self.start_worker()
        self.client.wait_for_workers(WORKERS, timeout=START_TIMEOUT_S)
        return result

    def recovery(self, n, kills):
        from distributed import wait

        import kernels

        times = []
        for _ in range(kills):
            pieces = self.client.map(kernels.arange, *zip(*spans(n)), pure=False)
            wait(pieces)

            def ask():
                return sum(self.client.gather(self.client.map(kernels.total, pieces, pure=False)))

            times.append(self.kill_and_replace(pieces, lambda kill: felt(ask, n, kill)))
        given = self.client.scatter([kernels.arange(*span) for span in spans(n)])

        def look(kill):
            kill()
            try:
                totals = self.client.map(kernels.total, given, pure=False)
                wait(totals, timeout=ANSWER_TIMEOUT_S / 4)
                return f"answered {sum(self.client.gather(totals))}"
            except Exception as why:
                return f"{type(why).__name__}"

        lost = self.kill_and_replace(given, look)
        return {"ms": times, "note": f"what was scattered: {lost}"}


class Ray:
    def __init__(self):
        os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
        os.environ["RAY_TMPDIR"] = os.getcwd()  # all nodes have their files there
        (Path.cwd() / "ray").mkdir(exist_ok=True)
        import ray
        from ray.cluster_utils import Cluster

        self.ray = ray
        self.what = f"Ray {ray.__version__}, {WORKERS} nodes of one processor"
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 256 << 20}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.add_node() for _ in range(WORKERS)]
        ray.init(address=self.cluster.address, log_to_driver=False)
        self.cluster.wait_for_nodes(START_TIMEOUT_S)

    def add_node(self):
        return self.cluster.add_node(num_cpus=1, object_store_memory=256 << 20)

    def close(self):
        self.ray.shutdown()
        self.cluster.shutdown()

    def recovery(self, n, kills):
        import kernels

        @self.ray.remote(num_cpus=1, max_retries=-1, scheduling_strategy="SPREAD")
        def make(*span):
            return kernels.arange(*span)

        @self.ray.remote(num_cpus=1, max_retries=-1)
        def total(piece):
            return kernels.total(piece)

        times = []
        for _ in range(kills):
            pieces = [make.remote(*span) for span in spans(n)]
            self.ray.wait(pieces, num_returns=len(pieces), fetch_local=False)

            def ask():
                return sum(self.ray.get([total.remote(piece) for piece in pieces], timeout=ANSWER_TIMEOUT_S))

            node = self.nodes.pop(0)
            times.append(felt(ask, n, lambda: self.cluster.remove_node(node, allow_graceful=False)))
            self.nodes.append(self.add_node())
            self.cluster.wait_for_nodes(START_TIMEOUT_S)
        return {"ms": times, "note": "the head, whose loss it does not survive, was spared"}


def main():
    from peer import serve

    peer = {"dask": Dask, "ray": Ray}[sys.argv[1]]()
    with contextlib.closing(peer):
        serve(peer.what, {"recovery": peer.recovery})


if __name__ == "__main__":
    main()
