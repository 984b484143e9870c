#!/usr/bin/env python3
"""Imitates the original workers, with their defects, each of which can be switched off.

Written from what was seen of the Java and the Python worker in runs. Two words come up again and again. A Java worker
that fails while it handles a line becomes a *zombie*: it never reads again, but its process and its heartbeats go on.
A Python worker that fails there *exits*.

What both do: state is a table of primaries, one of replicas, and a flag primary/replica for every key ARRAY_SEGMENT.
PROCESS_SEGMENT names no segment; the worker takes the first flagged key that fits, and splits it to get the
segment's id. Operations always work on what was stored, never on a result.
"""

import argparse
import json
import math
import os
import re
import signal
import socket
import threading
import time

import common
from common import say

QUIRKS = {
    "second-piece": "the segmentId of a result is the second piece of the key split at `_`; Java keeps a number as "
    "0.0, and fails to parse that; an id with `_` makes Java a zombie, Python exit, or both answer with a wrong number",
    "prefix": "PROCESS_SEGMENT takes the first primary key that starts with ARRAY_, be it of another array",
    "one-primary": "one primary per array and type: of several segments only the last is computed",
    "deadlock": "as many operations at once as cores are never answered, nor is any later one; heartbeats go on. "
    "With less than 2 cores the first one is enough",
    "silent": "no answer for an unknown or wrong operation (Java: one without data), an empty segment, Infinity "
    "(Java), multiples of 3 that are not positive (Python); NaN makes Java a zombie; Python exits at NaN in ints and "
    "at ints beyond int32",
    "stale": "Java: the result of an earlier operation is answered again: ints before doubles, whatever was asked",
    "string-promotion": "RECOVER_DATA: a string segmentId makes Java a zombie; Python does not find 0.0",
    "blank-line": "Java: a blank line makes it a zombie",
    "timestamp": "Java: a timestamp with a fraction makes it a zombie",
    "utf8-chunk": "Python: each 8192 bytes are decoded by themselves; a character across the border ends it",
    "torn-heartbeat": "Python: writes without a lock, so a heartbeat lands in the middle of a long result, "
    "here in every line longer than NUMBER bytes (3932161), at that place",
    "missing-keys": "Python: a message without one of type, from, to, timestamp, data ends it",
    "no-reconnect": "it never connects again: without its master Python exits 0, Java stays as a process",
    "early-heartbeat": "the first heartbeat follows REGISTER_WORKER at once",
}
JAVA_ONLY = {"stale", "blank-line", "timestamp"}
PYTHON_ONLY = {"utf8-chunk", "torn-heartbeat", "missing-keys"}
FAULTS = {
    "slow": "NUMBER seconds more for every operation (1)",
    "slow-element": "NUMBER seconds more for every element",
    "mute-after": "after NUMBER answers (0) never another one; heartbeats go on",
    "no-heartbeat": "registers, and never gives a sign of life by itself",
    "die-on-process": "kills itself with signal 9 at the first PROCESS_SEGMENT",
}

# Operations take at least this long, so that two lines sent together are surely worked on at once.
OPERATION_S = 0.02


class Broken(Exception):
    """The receive loop of the original fails here: the Java worker is a zombie from now on, the Python one exits."""


class Segment:
    def __init__(self, array_id, segment_id, kind, values):
        self.array_id = array_id
        self.segment_id = segment_id
        self.kind = kind  # "int" or "double"
        self.values = values


def example1(x):
    if math.isinf(x) or math.isnan(x):
        return math.nan
    return (math.sin(x) + math.cos(x)) ** 2 / (math.sqrt(abs(x)) + 1.0)


def example2(x):
    if x % 3 != 0 and not 500 <= x <= 1000:
        return x
    return 0 if x <= 0 else int(math.fmod(x * math.log(x), 7.0))


class Worker:
    def __init__(self, options, quirks, report):
        self.id = options.id
        self.java = options.flavour == "java"
        self.cores = options.cores
        self.heartbeat_s = options.heartbeat
        self.address = (options.host, options.port)
        self.quirks = quirks
        self.report = report
        self.connection = None
        self.write_lock = threading.Lock()
        self.pool_lock = threading.Lock()
        self.forget()

    def forget(self):
        self.primaries = {"int": {}, "double": {}}  # array id -> values, the original's tables
        self.segments = {}  # key -> Segment, primaries and replicas, in the order they came
        self.flags = {}  # key -> whether it is a primary
        self.results = {"int": {}, "double": {}}  # Java's, array id -> values
        self.in_pool = 0
        self.locked = False
        self.received = 0

    # --- The connection

    def run(self):
        while True:
            try:
                self.connection = socket.create_connection(self.address, timeout=10)
            except OSError as error:
                if "no-reconnect" in self.quirks:
                    say(self.id, f"no master: {error}")
                    common.leave(self.report, 0 if self.java else 1)
                time.sleep(0.2)
                continue
            self.connection.settimeout(None)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.register()
            try:
                self.read_lines()
                say(self.id, "the master is gone")
            except Broken as error:
                self.die(error)
            except OSError as error:
                say(self.id, f"the master is gone: {error}")
            if "no-reconnect" in self.quirks:
                self.quirks.bite("no-reconnect", "the master is gone")
                if self.java:
                    self.stay()
                common.leave(self.report, 0)
            self.forget()
            time.sleep(0.2)

    def register(self):
        host, port = self.connection.getsockname()[:2]
        self.send("REGISTER_WORKER", {"host": host, "port": port, "cores": self.cores, "memory": 1024})
        if "no-heartbeat" in self.quirks:
            self.quirks.bite("no-heartbeat", "not a single one")
        else:
            threading.Thread(target=self.beat, args=(self.connection,), daemon=True).start()

    def beat(self, connection):
        if "early-heartbeat" not in self.quirks:
            time.sleep(min(1.5, self.heartbeat_s))
        try:
            while connection is self.connection:
                self.send("HEARTBEAT", {})
                time.sleep(self.heartbeat_s)
        except OSError:
            pass

    def line(self, kind, data):
        message = common.envelope(kind, self.id, "master", data)
        return common.write_json("java" if self.java else "python", message)

    def send(self, kind, data):
        line = self.line(kind, data)
        with self.write_lock:
            border = int(self.quirks.number("torn-heartbeat", 3932161))
            if kind == "SEGMENT_RESULT" and "torn-heartbeat" in self.quirks and len(line) > border:
                self.quirks.bite("torn-heartbeat", f"at byte {border} of {len(line)}")
                line = line[:border] + self.line("HEARTBEAT", {}) + line[border:]
            self.connection.sendall(line)

    def read_lines(self):
        """Reads lines as the original does, and handles them, until the end of the connection."""
        begun = []  # pieces of the line that is not whole yet
        while True:
            chunk = self.connection.recv(8192)
            if not chunk:
                return
            if "utf8-chunk" in self.quirks:
                try:
                    chunk.decode()
                except UnicodeDecodeError as error:
                    self.quirks.bite("utf8-chunk", str(error))
                    raise Broken("cannot decode a chunk") from error
            *whole, rest = chunk.split(b"\n")
            for end in whole:
                begun.append(end)
                self.on_line(b"".join(begun).decode())
                begun = []
            if rest:
                begun.append(rest)

    def die(self, why):
        say(self.id, f"{'is a zombie now' if self.java else 'exits'}: {why}")
        if self.java:
            self.stay()
        common.leave(self.report, 0)

    def stay(self):
        """The rest of the life of a Java process without a reader: heartbeats go on if there is a connection."""
        self.report.write()
        while True:
            time.sleep(3600)

    # --- Messages

    def on_line(self, line):
        if not line.strip():
            if "blank-line" in self.quirks:
                self.quirks.bite("blank-line", "from the master")
                raise Broken("a blank line is no message")
            return
        try:
            message = json.loads(line)
        except ValueError as error:
            raise Broken(f"not JSON: {error}") from error
        missing = [key for key in ("type", "from", "to", "timestamp", "data") if key not in message]
        if missing and "missing-keys" in self.quirks:
            self.quirks.bite("missing-keys", f"{missing[0]} in {message.get('type')}")
            raise Broken(f"KeyError: {missing[0]}")
        if "timestamp" in self.quirks and not float(message.get("timestamp", 0)).is_integer():
            self.quirks.bite("timestamp", str(message["timestamp"]))
            raise Broken("a timestamp with a fraction")
        try:
            self.on_message(message.get("type"), message.get("data") or {})
        except (KeyError, TypeError, ValueError) as error:
            raise Broken(f"{type(error).__name__}: {error}") from error

    def on_message(self, kind, data):
        if kind == "DISTRIBUTE_ARRAY":
            self.on_segment(data, True)
        elif kind == "REPLICATE_DATA":
            self.on_segment(data, False)
        elif kind == "PROCESS_SEGMENT":
            self.on_process_segment(data)
        elif kind == "RECOVER_DATA":
            self.on_recover_data(data)
        elif kind == "SHUTDOWN":
            self.on_shutdown()

    def on_shutdown(self):
        say(self.id, "SHUTDOWN")
        if not self.java:
            common.leave(self.report, 0)
        connection, self.connection = self.connection, None
        connection.close()
        self.stay()

    def key(self, array_id, segment_id):
        """The key under which the original keeps a segment."""
        if "second-piece" not in self.quirks:
            return f"{array_id}_{int(float(segment_id))}"
        if self.java and not isinstance(segment_id, str):
            # Java reads every number as a double.
            return f"{array_id}_{common.java_double(float(segment_id))}"
        return f"{array_id}_{segment_id}"

    def on_segment(self, data, is_primary):
        array_id, kind = data["arrayId"], "int" if data["dataType"] == "int" else "double"
        values = self.read_values(kind, data["data"])
        key = self.key(array_id, data["segmentId"])
        self.segments[key] = Segment(array_id, int(float(data["segmentId"])), kind, values)
        self.flags[key] = is_primary
        if is_primary:
            self.primaries[kind][array_id] = values
        self.report.set(segments=len(self.segments))

    def read_values(self, kind, raw):
        numbers = [float(x) for x in raw]
        has_nan = any(map(math.isnan, numbers))
        beyond = kind == "int" and any(not -2147483649 < x < 2147483648 for x in numbers)
        if "silent" in self.quirks:
            if self.java and has_nan:
                self.quirks.bite("silent", "NaN")
                raise Broken("NaN")
            if not self.java and beyond:
                self.quirks.bite("silent", "NaN in ints" if has_nan else "an int outside int32")
                raise Broken("cannot convert to int32")
        # Both cut fractions off ints; Java takes the nearest int32 for what is beyond.
        return numbers if kind == "double" else [common.saturate_int32(x) for x in numbers]

    def on_process_segment(self, data):
        if "die-on-process" in self.quirks:
            self.quirks.bite("die-on-process", "signal 9")
            os.kill(os.getpid(), signal.SIGKILL)
        self.received += 1
        if "mute-after" in self.quirks and self.received > self.quirks.number("mute-after"):
            self.quirks.bite("mute-after", f"operation {self.received}")
            return
        array_id = data["arrayId"]
        work = [(self.reply_segment_id(key), self.segments[key]) for key in self.flagged_keys(array_id)]
        for segment_id, segment in work:
            with self.pool_lock:
                self.in_pool += 1
                if "deadlock" in self.quirks and self.in_pool >= self.cores and not self.locked:
                    self.locked = True
                    self.quirks.bite("deadlock", f"{self.in_pool} operations on {self.cores} cores")
            arguments = (array_id, segment_id, data.get("operation"), segment)
            threading.Thread(target=self.operate, args=arguments, daemon=True).start()

    def flagged_keys(self, array_id):
        """The keys of the primaries that are computed for this array."""
        primary_keys = [key for key, is_primary in self.flags.items() if is_primary]
        own = [key for key in primary_keys if self.segments[key].array_id == array_id]
        found = own
        if "prefix" in self.quirks:
            found = [key for key in primary_keys if key.startswith(array_id + "_")]
            if found and found[0] not in own:
                self.quirks.bite("prefix", f"{found[0]} for {array_id}")
        if "one-primary" in self.quirks:
            if len(own) > 1:
                self.quirks.bite("one-primary", f"{len(own)} segments of {array_id}")
            found = found[:1]
        return found

    def reply_segment_id(self, key):
        segment = self.segments[key]
        if "second-piece" not in self.quirks:
            return segment.segment_id
        piece = key.split("_")[1]
        if not re.fullmatch(r"[+-]?\d+", piece):
            self.quirks.bite("second-piece", f"{piece!r} of {key!r} is no integer")
            raise Broken(f"cannot parse {piece!r}")
        if int(piece) != segment.segment_id:
            self.quirks.bite("second-piece", f"{piece} instead of {segment.segment_id} from {key!r}")
        return int(piece)

    def operate(self, array_id, segment_id, operation, segment):
        """One operation, on a thread of its own."""
        time.sleep(max(OPERATION_S, self.quirks.number("slow", 1.0) if "slow" in self.quirks else 0))
        if "slow-element" in self.quirks:
            time.sleep(self.quirks.number("slow-element") * len(segment.values))
        answer = self.compute(array_id, operation, segment)
        with self.pool_lock:
            if self.locked:
                return
            self.in_pool -= 1
        if answer is None:
            return
        self.report.add("computed")
        say(self.id, f"computed {self.report.fields['computed']}")
        data = {"arrayId": array_id, "segmentId": segment_id, "status": "completed", **answer}
        try:
            self.send("SEGMENT_RESULT", data)
        except OSError:
            pass  # the reader notices too

    def compute(self, array_id, operation, segment):
        """The `data` of the answer and what goes with it; None if there is no answer."""
        kind = {"example1": "double", "example2": "int"}.get(operation)
        if "one-primary" in self.quirks:
            values = self.primaries[kind].get(array_id) if kind else None
        else:
            values = segment.values if segment.kind == kind else None
        if values is None:
            return self.mismatch(array_id, operation)
        why = None
        if not values:
            why = "an empty segment divides by zero"
        elif self.java and any(map(math.isinf, values)):
            why = "NaN cannot be written"
        elif not self.java and kind == "int" and any(x <= 0 and x % 3 == 0 for x in values):
            why = "the logarithm of a multiple of 3 that is not positive"
        if why and "silent" in self.quirks:
            self.quirks.bite("silent", why)
            return None
        results = [(example1 if kind == "double" else example2)(x) for x in values]
        if self.java and "stale" in self.quirks:
            self.results[kind][array_id] = results
            if kind == "double" and array_id in self.results["int"]:
                self.quirks.bite("stale", f"old ints for {operation}")
                return {"data": self.results["int"][array_id]}
        return {"data": results}

    def mismatch(self, array_id, operation):
        if self.java and "stale" in self.quirks:
            for table in (self.results["int"], self.results["double"]):
                if array_id in table:
                    self.quirks.bite("stale", f"an earlier result for {operation}")
                    return {"data": table[array_id]}
        if "silent" not in self.quirks:
            return {"data": [], "status": "error"}
        self.quirks.bite("silent", f"{operation} does not fit")
        return {} if self.java else None

    def on_recover_data(self, data):
        array_id, segment_id = data["arrayId"], data["segmentId"]
        if not data.get("makePrimary"):
            return
        if "string-promotion" in self.quirks:
            if self.java and isinstance(segment_id, str):
                self.quirks.bite("string-promotion", "segmentId is a string")
                raise Broken("a string is no number")
            if not self.java and isinstance(segment_id, float):
                self.quirks.bite("string-promotion", f"no key for {segment_id}")
        else:
            segment_id = int(float(segment_id))
        # Java cuts the fraction off here, unlike where it stores.
        number = str(int(float(segment_id))) if self.java else segment_id
        key = self.key(array_id, number)
        if key in self.segments:
            self.flags[key] = True
            self.primaries[self.segments[key].kind][array_id] = self.segments[key].values
        elif self.java and "second-piece" in self.quirks and f"{key}.0" in self.segments:
            self.quirks.bite("second-piece", f"kept as {key}.0, looked for as {key}")
        # It says so also when it has found nothing.
        answer = {"arrayId": array_id, "segmentId": data["segmentId"], "status": "recovered"}
        self.send("RECOVERY_COMPLETE", answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("id")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--flavour", choices=["java", "python"], default="java")
    parser.add_argument("--cores", type=int, default=2, help="threads of its pool, as it registers them (2)")
    parser.add_argument("--heartbeat", type=float, default=3.0, help="seconds between heartbeats (3)")
    common.add_quirk_options(parser, QUIRKS, FAULTS)
    options = parser.parse_args()
    others = PYTHON_ONLY if options.flavour == "java" else JAVA_ONLY
    defaults = [name for name in QUIRKS if name not in others]
    report = common.Report(options.report, id=options.id, flavour=options.flavour, computed=0, segments=0)
    values = common.chosen_quirks(parser, options, QUIRKS, defaults, FAULTS)
    common.leave_in_time(report, options.parent)
    Worker(options, common.Quirks(options.id, values, report), report).run()


if __name__ == "__main__":
    main()
