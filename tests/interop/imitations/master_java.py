#!/usr/bin/env python3
"""Imitates the original Java master, with its defects, each of which can be switched off.

It answers the first line of a client's connection and never closes it. An exception while it handles a request ends
in silence: no reply, the connection stays open. An exception in a worker's reader ends the reader, and 10 s later the
worker is taken for dead.
"""

import math
import threading
import time

import common
import masters
from common import say
from masters import Broken, is_number

QUIRKS = {
    "register-numbers": "a worker without numeric cores and memory is dropped in silence",
    "string-segment": "a SEGMENT_RESULT whose segmentId is a string ends the worker's reader",
    "data-required": "a SEGMENT_RESULT without data ends the worker's reader",
    "timestamp": "a timestamp with a fraction is an exception",
    "count-messages": "GET_RESULT waits for as many results as there are segments: a second one for a segment, or a "
    "late one of an earlier operation, ends the wait early",
    "partial": "after 10 s GET_RESULT answers what is there, as complete",
    "silent-errors": "a request that cannot be served gets no reply (off: one of status error)",
}

GET_WAIT_S = 10.0


class Operation:
    """What GET_RESULT waits for."""

    def __init__(self, segments):
        self.segments = segments
        self.messages = 0
        self.results = {}  # segment id -> values


class JavaMaster(masters.Master):
    flavour = "java"

    def __init__(self, options, quirks, report):
        super().__init__(options, quirks, report)
        self.operations = {}
        self.news = threading.Condition(self.lock)

    def parse(self, line):
        message = super().parse(line)
        if "timestamp" in self.quirks and not float(message.get("timestamp", 0)).is_integer():
            self.quirks.bite("timestamp", str(message["timestamp"]))
            raise Broken("a timestamp with a fraction")
        return message

    def cores_of(self, data):
        if is_number(data.get("cores")) and is_number(data.get("memory")):
            return int(data["cores"])
        if "register-numbers" not in self.quirks:
            return 1
        self.quirks.bite("register-numbers", f"cores {data.get('cores')!r}, memory {data.get('memory')!r}")
        raise Broken("cores and memory must be numbers")

    def after_reply(self, connection):
        self.left_open.append(connection)

    def on_broken_request(self, connection, error):
        say("master", f"exception: {type(error).__name__} {error}")
        self.left_open.append(connection)
        if "silent-errors" in self.quirks:
            self.quirks.bite("silent-errors", str(error))
            return
        reply = {"status": "error", "result": str(error)}
        message = common.envelope("OPERATION_COMPLETE", "master", "client", reply)
        try:
            connection.sendall(common.write_json(self.flavour, message))
        except OSError:
            pass

    def send_to_worker(self, worker_id, kind, data):
        # A worker that is gone but not noticed yet: the failed write is logged and that is all.
        self.try_send(worker_id, kind, data)

    def create(self, data):
        values = data["values"]
        if not all(is_number(x) and not math.isnan(x) for x in values):
            raise Broken("a value that is no number")
        if data["dataType"] == "int":
            # Java's cast: fractions are cut off, what is beyond int32 becomes its end.
            self.place(data["arrayId"], "int", [common.saturate_int32(float(x)) for x in values])
        elif data["dataType"] == "double":
            self.place(data["arrayId"], "double", [float(x) for x in values])
        # Any other type is created as well, and nothing is stored.
        return {"arrayId": data["arrayId"], "status": "created"}

    def apply(self, data):
        with self.lock:
            self.operations[data["arrayId"]] = Operation(len(self.segments.get(data["arrayId"], [])))
            self.process(data)
        return {"arrayId": data["arrayId"], "status": "processing"}

    def on_segment_result(self, worker, data):
        if isinstance(data["segmentId"], str):
            if "string-segment" in self.quirks:
                self.quirks.bite("string-segment", f"{data['segmentId']!r} of {worker.id}")
                raise Broken("segmentId is a string")
            data["segmentId"] = int(float(data["segmentId"]))
        if not isinstance(data.get("data"), list):
            if "data-required" in self.quirks:
                self.quirks.bite("data-required", f"{data.get('status')} of {worker.id}")
                raise Broken("a result without data")
            data["data"] = []
        self.note_result(worker, data)
        with self.news:
            operation = self.operations.get(data["arrayId"])
            if operation is not None:
                # Which operation the result is of, it does not say.
                operation.messages += 1
                operation.results[int(data["segmentId"])] = [float(x) for x in data["data"]]
                self.news.notify_all()

    def is_done(self, operation):
        if "count-messages" not in self.quirks:
            return len(operation.results) >= operation.segments
        return operation.messages >= operation.segments

    def get(self, data):
        with self.news:
            operation = self.operations.get(data["arrayId"])
            if operation is None:
                return {"status": "error", "result": "Array ID not found or no operation initiated."}
            deadline = time.monotonic() + GET_WAIT_S * self.time_scale
            while not self.is_done(operation) and time.monotonic() < deadline:
                self.news.wait(max(0.0, deadline - time.monotonic()))
            if self.is_done(operation) and len(operation.results) < operation.segments:
                self.quirks.bite("count-messages", f"{len(operation.results)} of {operation.segments} segments")
            elif not self.is_done(operation):
                if "partial" not in self.quirks:
                    return {"status": "error", "result": "out of time"}
                self.quirks.bite("partial", f"{len(operation.results)} of {operation.segments} segments")
            values = [x for _, part in sorted(operation.results.items()) for x in part]
        # It has one list type for results, so ints come as 3.0; NaN has no JSON literal and comes as text.
        return {"status": "complete", "result": ["NaN" if math.isnan(x) else x for x in values]}


if __name__ == "__main__":
    masters.main(JavaMaster, QUIRKS, __doc__.split("\n", maxsplit=1)[0])
