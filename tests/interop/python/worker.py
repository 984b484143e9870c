#!/usr/bin/env python3
"""A level-1 worker of darray, written from PROTOCOL.md with nothing but the standard library.

    worker.py ID HOST PORT [--cores N] [--memory MIB]

It works under our master and under the original ones. Exit codes: 0 the master is gone or said SHUTDOWN;
1 no master; 2 usage.
"""

import argparse
import json
import os
import socket
import sys
import threading
import time

from darray_client import example1, example2

HEARTBEAT_S = 3.0
# The original masters throw away what arrives together with REGISTER_WORKER; a heartbeat cut in two by that is the end.
FIRST_HEARTBEAT_S = 1.5
# The original Python master takes whatever one recv(8192) gives for exactly one line.
PYTHON_LINE_MAX = 8192
PYTHON_GAP_S = 0.05


class Link:
    """The connection to the master. Two threads write to it, and a line must never land in the middle of another."""

    def __init__(self, worker_id, connection):
        self.worker_id = worker_id
        self.connection = connection
        self.lock = threading.Lock()
        self.python_master = False
        self.last_sent = 0.0

    def send(self, kind, data):
        message = {
            "type": kind,
            "from": self.worker_id,
            "to": "master",
            "timestamp": int(time.time() * 1000),
            "data": data,
        }
        line = json.dumps(message).encode() + b"\n"
        if self.python_master and len(line) > PYTHON_LINE_MAX and kind == "SEGMENT_RESULT":
            # It does not look at results, and would lose this worker over the long line.
            message["data"] = {**data, "data": []}
            line = json.dumps(message).encode() + b"\n"
        with self.lock:
            if self.python_master:
                time.sleep(max(0.0, self.last_sent + PYTHON_GAP_S - time.monotonic()))
            self.connection.sendall(line)
            self.last_sent = time.monotonic()


class Segment:
    def __init__(self, data, is_primary):
        self.data_type = data["dataType"]
        self.bounds = (int(data["startIndex"]), int(data["endIndex"]))
        self.is_primary = is_primary
        # A number may be written 3 or 3.0 whatever the array's type.
        self.values = [float(x) if self.data_type == "double" else int(x) for x in data["data"]]

    def is_at_odds_with(self, other):
        """Whether both cannot be of one array: another type, or overlapping without being the same."""
        overlap = self.bounds[0] < other.bounds[1] and other.bounds[0] < self.bounds[1]
        return self.data_type != other.data_type or (overlap and self.bounds != other.bounds)


def compute(operation, segment):
    if operation == "example1" and segment.data_type == "double":
        return [example1(x) for x in segment.values]
    if operation == "example2" and segment.data_type == "int":
        return [example2(x) for x in segment.values]
    raise ValueError(f"{operation!r} does not fit {segment.data_type!r}")


class Worker:
    def __init__(self, link):
        self.link = link
        self.arrays = {}  # array id -> segment id -> Segment

    def on_line(self, line):
        """Handles one line. A message this worker does not know is none of its business."""
        message = json.loads(line)
        data = message.get("data") or {}
        handler = getattr(self, "on_" + str(message.get("type")).lower(), None)
        if handler is not None:
            handler(data)

    def on_distribute_array(self, data):
        self.store(data, True)

    def on_replicate_data(self, data):
        self.store(data, False)

    def store(self, data, is_primary):
        segment = Segment(data, is_primary)
        held = self.arrays.setdefault(data["arrayId"], {})
        # An original master never says that an array has been replaced by another of the same name.
        if any(segment.is_at_odds_with(other) for other in held.values()):
            held.clear()
        # The id may come as 0, 0.0 or "0".
        held[int(float(data["segmentId"]))] = segment

    def on_process_segment(self, data):
        """Answers once for every primary segment, which is what all masters count on."""
        array_id = data["arrayId"]
        primaries = {i: s for i, s in self.arrays.get(array_id, {}).items() if s.is_primary}
        if not primaries:
            self.result(array_id, 0, "error", [])
        for segment_id, segment in sorted(primaries.items()):
            try:
                self.result(array_id, segment_id, "completed", compute(data["operation"], segment))
            except (ValueError, KeyError) as error:
                print(f"worker: {error}", file=sys.stderr)
                # An answer in any case: the original Java master dies of one without a list.
                self.result(array_id, segment_id, "error", [])

    def result(self, array_id, segment_id, status, values):
        self.link.send(
            "SEGMENT_RESULT",
            {"arrayId": array_id, "segmentId": segment_id, "status": status, "data": values},
        )

    def on_recover_data(self, data):
        segment = self.arrays.get(data["arrayId"], {}).get(int(float(data["segmentId"])))
        if not data.get("makePrimary"):
            return
        if segment is not None:
            segment.is_primary = True
        status = "recovered" if segment is not None else "error"
        answer = {"arrayId": data["arrayId"], "segmentId": data["segmentId"], "status": status}
        self.link.send("RECOVERY_COMPLETE", answer)

    def on_shutdown(self, _data):
        raise EOFError("the master said SHUTDOWN")


def beat(link):
    time.sleep(FIRST_HEARTBEAT_S)
    try:
        while True:
            link.send("HEARTBEAT", {})
            time.sleep(HEARTBEAT_S)
    except OSError:
        pass  # the reader notices too, and ends the process


def main():
    parser = argparse.ArgumentParser(description="A level-1 worker of darray.")
    parser.add_argument("id")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--memory", type=int, default=1024, help="MiB")
    options = parser.parse_args()
    try:
        connection = socket.create_connection((options.host, options.port), timeout=10)
    except OSError as error:
        print(f"worker: no master at {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link = Link(options.id, connection)
    host, port = connection.getsockname()[:2]
    worker = Worker(link)
    try:
        link.send("REGISTER_WORKER", {"host": host, "port": port, "cores": options.cores, "memory": options.memory})
        threading.Thread(target=beat, args=(link,), daemon=True).start()
        for number, line in enumerate(connection.makefile("rb")):
            if number == 0:
                link.python_master = line.startswith(b'{"type": ')
            if line.strip():
                worker.on_line(line)
    except (OSError, EOFError) as error:
        print(f"worker: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
