#!/usr/bin/env python3
"""Imitates the original Python master, with its defects, each of which can be switched off.

It answers the first line of a client's connection and closes it; after an exception it closes it without a reply. It
never looks at results. Its lines have a space after `:` and `,`, by which a worker can tell it from the Java master.
"""

import math
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import masters
from common import say
from masters import Broken, is_number

QUIRKS = {
    "one-line-per-read": "what one recv(8192) from a worker gives must be exactly one line; if not, its reader ends",
    "constant-result": "GET_RESULT always answers the same text (off: status error)",
    "pool-20": "20 threads: each worker's connection keeps one; when all are taken, nobody else is served",
    "give-up": "a dead worker's connection is closed if it held segments, else it stays open and unread",
}

THREADS = 20
MESSAGE_KEYS = ("type", "from", "to", "timestamp", "data")


class PythonMaster(masters.Master):
    flavour = "python"

    def __init__(self, options, quirks, report):
        super().__init__(options, quirks, report)
        self.pool = ThreadPoolExecutor(THREADS)
        self.busy = 0
        self.busy_lock = threading.Lock()

    def start(self, connection):
        if "pool-20" not in self.quirks:
            super().start(connection)
            return
        with self.busy_lock:
            self.busy += 1
            if self.busy > THREADS:
                self.quirks.bite("pool-20", f"connection {self.busy} has to wait for a thread")
        self.pool.submit(self.handle_in_pool, connection)

    def handle_in_pool(self, connection):
        try:
            self.handle(connection)
        finally:
            with self.busy_lock:
                self.busy -= 1

    def parse(self, line):
        message = super().parse(line)
        for key in MESSAGE_KEYS:
            if key not in message:
                raise Broken(f"KeyError: {key}")
        return message

    def cores_of(self, data):
        return int(data["cores"])

    def lines(self, worker, rest):
        if "one-line-per-read" not in self.quirks:
            yield from super().lines(worker, rest)
            return
        yield from filter(None, rest.split(b"\n"))
        while True:
            chunk = worker.connection.recv(8192)
            if not chunk:
                return
            if chunk.count(b"\n") != 1 or not chunk.endswith(b"\n"):
                self.quirks.bite("one-line-per-read", f"{len(chunk)} bytes, {chunk.count(10)} ends, from {worker.id}")
                raise Broken("not one line")
            yield chunk

    def after_reply(self, connection):
        connection.close()

    def on_broken_request(self, connection, error):
        say("master", f"exception: {type(error).__name__} {error}")
        connection.close()

    def send_to_worker(self, worker_id, kind, data):
        # A worker that is gone but not noticed yet: the broken pipe ends the client's request.
        self.send(worker_id, kind, data)

    def create(self, data):
        values = data["values"]
        if not all(map(is_number, values)):
            raise Broken("a value that is no number")
        if data["dataType"] == "int":
            if not all(math.isfinite(x) and x == int(x) and -2147483649 < x < 2147483648 for x in values):
                raise Broken("a value that is no int32")
            self.place(data["arrayId"], "int", [int(x) for x in values])
        else:
            # Whatever is not int is double.
            self.place(data["arrayId"], "double", [float(x) for x in values])
        return {"arrayId": data["arrayId"], "status": "created"}

    def apply(self, data):
        self.process(data)
        return {"arrayId": data["arrayId"], "status": "processing"}

    def on_segment_result(self, worker, data):
        self.note_result(worker, data)

    def get(self, data):
        if "constant-result" not in self.quirks:
            return {"status": "error", "result": "results are not kept"}
        self.quirks.bite("constant-result", str(data.get("arrayId")))
        return {"status": "complete", "result": "Operation completed successfully"}

    def after_fail_over(self, dead, held_segments):
        if "give-up" in self.quirks and held_segments:
            self.quirks.bite("give-up", f"the connection of {dead.id} is closed")
            try:
                dead.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone already
            dead.connection.close()


if __name__ == "__main__":
    masters.main(PythonMaster, QUIRKS, __doc__.split("\n", maxsplit=1)[0])
