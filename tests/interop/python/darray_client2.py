#!/usr/bin/env python3
"""A level-2 client of darray, written from PROTOCOL.md with nothing but the standard library.

The master says where the bytes of an array belong; the client brings them to the workers, and fetches them there,
raw and with a checksum. A lost connection is opened again and every request without a reply repeated under its number.
"""

import json
import socket
import struct
import sys
import time

from darray_client import TIMEOUT_S, Refused, main

DTYPES = {"int": ("int32", "i", 4), "double": ("float64", "d", 8)}
FORMATS = {dtype: (letter, size) for dtype, letter, size in DTYPES.values()}


CRC_TABLE = list(range(256))
for _ in range(8):
    CRC_TABLE = [crc >> 1 ^ (0x82F63B78 if crc & 1 else 0) for crc in CRC_TABLE]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class WireError(Refused):
    """An ERROR message: `code` says what, `retryable` whether it may go well later."""

    def __init__(self, data):
        super().__init__(f"{data['code']} {data['message']}")
        self.code, self.data, self.retryable = data["code"], data, data.get("retryable", False)


class Link:
    """A connection on which HELLO has been said."""

    def __init__(self, address, hello):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=2)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(TIMEOUT_S)
        self.file = self.socket.makefile("rb")
        self.hello = self.ask({"type": "HELLO", "data": {"role": "client", "protocol": 2, **hello}})[0]

    def ask(self, message, payload=b""):
        """Sends a message and returns data and payload of the reply. One at a time, so the next reply is the one."""
        self.socket.sendall(json.dumps(message).encode() + b"\n" + payload)
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the connection was closed")
        reply = json.loads(line)
        data, said = reply.get("data", {}), reply.get("payload")
        body = b""
        if said is not None:
            body = self.file.read(said["bytes"])
            if len(body) != said["bytes"]:
                raise ConnectionError("the connection was closed in the middle of a payload")
            if crc32c(body) != said["crc32c"]:
                raise ConnectionError("the payload was damaged on its way")
            if said["dtype"] == "json":  # too much for a line: the payload stands for the data
                data, body = json.loads(body), b""
        if reply["type"] == "ERROR":
            raise WireError(data)
        return data, body


class Client:
    def __init__(self, host, port):
        self.address = f"{host}:{port}"
        self.session = None  # the master gives one
        self.link = None
        self.next_id = 1
        self.data_links = {}

    def request(self, kind, data, deadline):
        """One request to the master, which takes effect once however often it has to be sent."""
        if time.monotonic() > deadline:
            raise Refused(f"{kind}: out of time")
        left_ms = int((deadline - time.monotonic()) * 1000) + 1
        message = {"type": kind, "id": self.next_id, "ackedBelow": self.next_id, "timeoutMs": left_ms, "data": data}
        self.next_id += 1
        while True:
            try:
                if self.link is None:
                    self.link = Link(self.address, {"session": self.session} if self.session else {})
                    given = self.link.hello["session"]
                    if self.session not in (None, given):
                        raise Refused("the master has forgotten this session: the outcome is unknown")
                    self.session = given
                return self.link.ask(message)[0]
            except OSError:
                self.link = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def worker(self, address, message, payload=b""):
        """One request to a worker's data port."""
        link = self.data_links.pop(address, None) or Link(address, {})
        reply = link.ask(message, payload)
        self.data_links[address] = link  # after an error it is not used again
        return reply

    def again(self, step):
        """Repeats a step while it fails for a passing reason."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return step(deadline)
            except WireError as error:
                # UnknownVersion: replaced while it was read; reading begins anew.
                if not (error.retryable or error.code == "UnknownVersion") or time.monotonic() > deadline:
                    raise
                time.sleep(error.data.get("retryAfterMs", 100) / 1000)

    def create(self, array_id, data_type, values):
        dtype, letter, size = DTYPES[data_type]
        data = struct.pack(f"<{len(values)}{letter}", *values)
        return self.again(lambda deadline: self.upload(array_id, dtype, len(values), data, size, deadline))

    def upload(self, array_id, dtype, length, data, size, deadline):
        create = {"arrayId": array_id, "dtype": dtype, "shape": [length], "replace": True}
        plan = self.request("CREATE_ARRAY", create, deadline)
        version, done = plan["version"], {}
        while True:
            avoid, missing = self.write(plan, dtype, data, size, done)
            if not missing:
                segments = [[segment, crc, workers] for segment, (crc, workers) in sorted(done.items())]
                try:
                    return self.request("COMMIT_ARRAY", {"version": version, "segments": segments}, deadline)
                except WireError as error:
                    if error.code != "SegmentsMissing":
                        raise
                    missing = error.data["segments"]
            replan = {"version": version, "segments": missing, "avoid": sorted(avoid)}
            plan = self.request("REPLAN_WRITE", replan, deadline)

    def write(self, plan, dtype, data, size, done):
        """Brings the segments of a plan to their workers. Returns the workers to avoid and the segments left over."""
        avoid, missing, step = set(), [], plan["segmentLength"] * size
        for segment, holders in plan["segments"]:
            block = data[segment * step : (segment + 1) * step]
            first, *forward = [plan["workers"][i] for i in holders]
            crc = crc32c(block)
            payload = {"dtype": dtype, "bytes": len(block), "crc32c": crc}
            target = {"version": plan["version"], "segment": segment, "ticket": plan["ticket"], "forward": forward}
            message = {"type": "DISTRIBUTE_ARRAY", "id": segment + 1, "payload": payload, "data": target}
            try:
                done[segment] = (crc, self.worker(first["address"], message, block)[0]["workers"])
            except (OSError, WireError):
                avoid.add(first["worker"])
                missing.append(segment)
        return avoid, missing

    def apply(self, array_id, operation):
        data = {"arrayId": array_id, "operation": operation}
        return self.again(lambda deadline: self.request("APPLY_OPERATION", data, deadline))

    def get(self, array_id):
        return {"status": "complete", "result": list(self.again(lambda deadline: self.download(array_id, deadline)))}

    def download(self, array_id, deadline):
        plan = self.request("GET_RESULT", {"arrayId": array_id}, deadline)
        parts = {}
        while True:
            for segment, crc, holders in plan["segments"]:
                for i in holders if segment not in parts else []:
                    message = {"type": "GET_SEGMENT", "id": 1, "data": {"version": plan["version"], "segment": segment}}
                    try:
                        block = self.worker(plan["workers"][i]["address"], message)[1]
                    except (OSError, WireError):
                        continue
                    if crc32c(block) == crc:
                        parts[segment] = block
                        break
            self.request("UNPIN", {"pin": plan["pin"]}, deadline)
            if len(parts) == len(plan["segments"]):
                break
            # The version may be held elsewhere by now. If it is gone the master says so, and that ends the reading.
            time.sleep(0.05)
            plan = self.request("GET_RESULT", {"arrayId": plan["handle"]}, deadline)
        letter, size = FORMATS[plan["dtype"]]
        data = b"".join(parts[segment] for segment in sorted(parts))
        return struct.unpack(f"<{len(data) // size}{letter}", data)


if __name__ == "__main__":
    sys.exit(main(Client))
