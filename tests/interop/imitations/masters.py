"""What the imitations of the two original masters have in common: tables, placement, failover, liveness.

Both keep all data. An array is cut into one segment for every registered worker, segment i goes to the i-th worker and
a replica to the next one; a segment's id is the index of its first element. A worker is dead when its last heartbeat
is more than 10 s old, which is looked at every 5 s.
"""

import argparse
import json
import socket
import sys
import threading
import time

import common
from common import say

QUIRKS = {
    "same-read": "bytes that come in the same read as REGISTER_WORKER are thrown away; a heartbeat cut in two by that "
    "is read as a broken line",
    "eof-ignored": "the end of a worker's connection is no failure, only silence and a reset are",
    "ghost": "a dead worker that held no segment is never removed: new segments are placed on it for ever",
}

HEALTH_CHECK_S = 5.0
DEAD_AFTER_S = 10.0


class Broken(Exception):
    """A runtime exception of the original."""


class WorkerLink:
    def __init__(self, worker_id, connection, cores):
        self.id = worker_id
        self.connection = connection
        self.cores = cores
        self.last_heartbeat = time.monotonic()
        self.is_given_up = False
        self.lock = threading.Lock()


class Segment:
    def __init__(self, array_id, kind, start, values):
        self.array_id = array_id
        self.kind = kind
        self.start = start
        self.values = values
        self.primary = None  # ids of workers
        self.replica = None


class Master:
    flavour = ""  # "java" or "python"

    def __init__(self, options, quirks, report):
        self.quirks = quirks
        self.report = report
        self.time_scale = options.time_scale
        self.lock = threading.RLock()
        self.workers = {}  # id -> WorkerLink, in the order they registered
        self.segments = {}  # array id -> list of Segment
        self.left_open = []  # connections nobody looks at any more, kept from being collected

    # --- Connections

    def serve(self, port):
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        host, port = listener.getsockname()[:2]
        print(f"listening {host}:{port}", flush=True)
        threading.Thread(target=self.watch, daemon=True).start()
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.start(connection)

    def start(self, connection):
        threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection):
        """A connection, from its first line."""
        try:
            line, rest = self.first_line(connection)
            message = self.parse(line)
            if message.get("type") == "REGISTER_WORKER":
                worker = self.register(connection, message)
                if rest and "same-read" in self.quirks:
                    self.quirks.bite("same-read", f"{len(rest)} bytes after REGISTER_WORKER of {worker.id}")
                    rest = b""
            else:
                connection.sendall(common.write_json(self.flavour, self.answer(message)))
                self.after_reply(connection)
                return
        except Exception as error:  # pylint: disable=broad-except; what comes of it is the point here
            self.on_broken_request(connection, error)
            return
        self.read_worker(worker, rest)

    @staticmethod
    def first_line(connection):
        """The first line, or all there is if the peer stops writing; and what came with it."""
        received = []
        while not received or b"\n" not in received[-1]:
            chunk = connection.recv(8192)
            if not chunk:
                break
            received.append(chunk)
        if not received:
            raise Broken("nothing was said")
        line, _, rest = b"".join(received).partition(b"\n")
        return line, rest

    def parse(self, line):
        message = json.loads(line.decode())
        if not isinstance(message, dict):
            raise Broken("not an object")
        return message

    def answer(self, message):
        data = message["data"]
        kind = message["type"]
        if kind == "CREATE_ARRAY":
            reply = self.create(data)
        elif kind == "APPLY_OPERATION":
            reply = self.apply(data)
        elif kind == "GET_RESULT":
            reply = self.get(data)
        else:
            raise Broken(f"no such request: {kind}")
        return common.envelope("OPERATION_COMPLETE", "master", message["from"], reply)

    # --- Workers

    def register(self, connection, message):
        data = message["data"]
        worker = WorkerLink(message["from"], connection, self.cores_of(data))
        with self.lock:
            # A worker of the same id is replaced without a word.
            self.workers[worker.id] = worker
        self.report.append("registered", worker.id)
        say("master", f"{worker.id} registered")
        return worker

    def lines(self, worker, rest):
        """Whole lines from a worker."""
        begun, chunk = [], rest
        while True:
            *ends, last = chunk.split(b"\n")
            for end in ends:
                yield b"".join([*begun, end])
                begun = []
            begun.append(last)
            chunk = worker.connection.recv(1 << 16)
            if not chunk:
                return

    def read_worker(self, worker, rest):
        """Reads what a worker says, for as long as the original would."""
        try:
            for line in self.lines(worker, rest):
                self.on_worker_line(worker, line)
        except ConnectionError as error:
            self.lose(worker, f"reset: {error}")
            self.fail_over(worker)
            return
        except Exception as error:  # pylint: disable=broad-except
            # The reader ends here, so no heartbeat will be seen any more.
            self.lose(worker, f"reader: {type(error).__name__} {error}")
            self.left_open.append(worker.connection)
            return
        say("master", f"end of the connection of {worker.id}")
        if "eof-ignored" in self.quirks:
            self.quirks.bite("eof-ignored", worker.id)
            self.left_open.append(worker.connection)
        else:
            self.lose(worker, "end of its connection")
            self.fail_over(worker)

    def on_worker_line(self, worker, line):
        message = self.parse(line)
        kind, data = message["type"], message["data"]
        if kind == "HEARTBEAT":
            worker.last_heartbeat = time.monotonic()
            self.report.add("heartbeats")
        elif kind == "SEGMENT_RESULT":
            self.on_segment_result(worker, data)
        elif kind == "RECOVERY_COMPLETE":
            self.report.append("recovered", {"worker": worker.id, **data})
        else:
            say("master", f"{worker.id} sent {kind}, which is ignored")

    def note_result(self, worker, data):
        values = data.get("data")
        note = {"worker": worker.id, "arrayId": data["arrayId"], "segmentId": data["segmentId"]}
        note["status"] = data.get("status")
        note["count"] = len(values) if isinstance(values, list) else None
        if note["count"] is not None and note["count"] <= 100:
            note["data"] = values
        self.report.append("results", note)

    def lose(self, worker, why):
        """Notes once that the master will not hear of this worker any more."""
        if not worker.is_given_up:
            worker.is_given_up = True
            say("master", f"lost {worker.id}: {why}")
            self.report.append("lost", {"worker": worker.id, "why": why})

    def watch(self):
        """Looks for silent workers. Only heartbeats count; results do not."""
        while True:
            time.sleep(HEALTH_CHECK_S * self.time_scale)
            with self.lock:
                silent = [worker for worker in self.workers.values() if not self.is_live(worker)]
            for worker in silent:
                self.lose(worker, "silence")
                self.fail_over(worker)

    def is_live(self, worker):
        return time.monotonic() - worker.last_heartbeat <= DEAD_AFTER_S * self.time_scale

    def send(self, worker_id, kind, data):
        worker = self.workers[worker_id]
        with worker.lock:
            worker.connection.sendall(
                common.write_json(self.flavour, common.envelope(kind, "master", worker_id, data))
            )

    def try_send(self, worker_id, kind, data):
        try:
            self.send(worker_id, kind, data)
        except OSError as error:
            say("master", f"cannot send {kind} to {worker_id}: {error}")

    # --- Arrays

    def send_segment(self, segment, worker_id, is_primary):
        data = {
            "arrayId": segment.array_id,
            "segmentId": segment.start,
            "startIndex": segment.start,
            "endIndex": segment.start + len(segment.values),
            "dataType": segment.kind,
            "data": segment.values,
            "isPrimary": is_primary,
        }
        self.send_to_worker(worker_id, "DISTRIBUTE_ARRAY" if is_primary else "REPLICATE_DATA", data)

    def place(self, array_id, kind, values):
        """Cuts an array into a segment for every worker, and sends them. Without workers it divides by zero."""
        with self.lock:
            ids = list(self.workers)
            size, longer = divmod(len(values), len(ids))
            segments, start = [], 0
            for i, worker_id in enumerate(ids):
                count = size + (i < longer)
                if count:
                    segment = Segment(array_id, kind, start, values[start : start + count])
                    segment.primary = worker_id
                    segment.replica = ids[(i + 1) % len(ids)] if len(ids) > 1 else None
                    segments.append(segment)
                    start += count
            self.segments[array_id] = segments
            for segment in segments:
                self.send_segment(segment, segment.primary, True)
                if segment.replica:
                    self.send_segment(segment, segment.replica, False)
        self.report.add("created")

    def process(self, data):
        """Asks every worker with a primary of the array to compute. Nothing is checked: any name is accepted."""
        with self.lock:
            segments = self.segments.get(data["arrayId"], [])
            for worker_id in dict.fromkeys(segment.primary for segment in segments):
                message = {"arrayId": data["arrayId"], "operation": data["operation"]}
                if worker_id in self.workers:
                    self.try_send(worker_id, "PROCESS_SEGMENT", message)
        self.report.add("applied")

    def fail_over(self, dead):
        """Promotes replicas and makes new ones. Operations that wait for the dead worker are not sent again."""
        with self.lock:
            if self.workers.get(dead.id) is not dead:
                return
            held = [s for segments in self.segments.values() for s in segments if dead.id in (s.primary, s.replica)]
            if not held and "ghost" in self.quirks:
                self.quirks.bite("ghost", dead.id)
                return
            del self.workers[dead.id]
            for segment in held:
                if segment.primary == dead.id and segment.replica in self.workers:
                    segment.primary = segment.replica
                    data = {"arrayId": segment.array_id, "segmentId": segment.start, "makePrimary": True}
                    self.try_send(segment.primary, "RECOVER_DATA", data)
                segment.replica = next((i for i in self.workers if i != segment.primary), None)
                if segment.replica:
                    self.try_send_segment(segment, segment.replica)
        self.after_fail_over(dead, bool(held))

    def try_send_segment(self, segment, worker_id):
        try:
            self.send_segment(segment, worker_id, False)
        except OSError as error:
            say("master", f"cannot copy to {worker_id}: {error}")

    # --- What the two do in their own way: cores_of, on_segment_result, create, apply, get, send_to_worker and

    def after_reply(self, connection):
        raise NotImplementedError

    def on_broken_request(self, connection, error):
        raise NotImplementedError

    def after_fail_over(self, dead, held_segments):
        pass


def is_number(x):
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def main(master_class, known, description):
    """The command line of both."""
    quirks = {**QUIRKS, **known}
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("port", type=int, nargs="?", default=0, help="0 picks one; `listening HOST:PORT` says which")
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="factor on every period: 0.1 makes all ten times faster (1)"
    )
    common.add_quirk_options(parser, quirks)
    options = parser.parse_args()
    report = common.Report(options.report, flavour=master_class.flavour, registered=[], lost=[], results=[])
    values = common.chosen_quirks(parser, options, quirks, list(quirks))
    common.leave_in_time(report, options.parent)
    try:
        master_class(options, common.Quirks("master", values, report), report).serve(options.port)
    except OSError as error:
        sys.exit(f"master: {error}")
