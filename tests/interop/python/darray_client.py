#!/usr/bin/env python3
"""A level-1 client of darray, written from PROTOCOL.md with nothing but the standard library.

Level 1 is one JSON line per request and one per reply, values inline. It also works with the original masters.
"""

import json
import math
import os
import random
import socket
import sys
import time

USAGE = """usage: {program} HOST PORT create-int ID SIZE | create-double ID SIZE | apply ID OP | get ID | check ID N [SEED]

create-int, create-double  store SIZE random values (1 to 1000, 1 to 100)
apply                      compute example1 (doubles) or example2 (ints) on every value
get                        print the status, and the values or what went wrong
check                      store, compute and read N doubles and N ints, and compare with its own computation

DARRAY_TIMEOUT sets how many seconds a reply may take (180). Exit: 0 done, 1 wrong or refused, 2 usage."""

# A master may take 120 s and more for GET_RESULT: it waits for the operation.
TIMEOUT_S = float(os.environ.get("DARRAY_TIMEOUT", "180"))


class Refused(Exception):
    """The master said no, or nothing."""


class Client:
    def __init__(self, host, port):
        self.address = (host, port)

    def request(self, kind, data):
        """Sends one request, and returns the data of the reply.

        Every request has a connection of its own: an original master answers only the first line of each.
        """
        message = {
            "type": kind,
            "from": "client",
            "to": "master",
            "timestamp": int(time.time() * 1000),
            "data": data,
        }
        deadline = time.monotonic() + TIMEOUT_S
        with socket.create_connection(self.address, timeout=min(TIMEOUT_S, 10)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(TIMEOUT_S)
            connection.sendall(json.dumps(message).encode() + b"\n")
            # An original master leaves the connection open for ever, so the newline is the end, not the end of file.
            received = []
            while not received or not received[-1].endswith(b"\n"):
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                chunk = connection.recv(1 << 20)
                if not chunk:
                    raise Refused("the master closed the connection without a reply")
                received.append(chunk)
        reply = json.loads(b"".join(received))["data"]
        if reply.get("status") == "error":
            raise Refused("{} {}".format(reply.get("code", "error"), reply.get("result")))
        return reply

    def create(self, array_id, data_type, values):
        """Stores an array, in place of any other of that name."""
        return self.request("CREATE_ARRAY", {"arrayId": array_id, "dataType": data_type, "values": values})

    def apply(self, array_id, operation):
        """Starts an operation; get() waits for it."""
        return self.request("APPLY_OPERATION", {"arrayId": array_id, "operation": operation})

    def get(self, array_id):
        """Waits for the newest operation on the array and returns its values."""
        return self.request("GET_RESULT", {"arrayId": array_id})


def example1(x):
    if math.isinf(x):
        return math.nan  # where math.sin raises
    return (math.sin(x) + math.cos(x)) ** 2 / (math.sqrt(abs(x)) + 1.0)


def example2(x):
    if x % 3 != 0 and not 500 <= x <= 1000:
        return x
    # There is no logarithm of these; they are defined to give 0.
    return 0 if x <= 0 else int(math.fmod(x * math.log(x), 7.0))


# The values at the edges of example2, in front of the pseudo-random ones.
EDGES = [-6, -3, -1, 0, 1, 3, 499, 500, 1000, 1002, 2147483646, 2147483647, -2147483648]


def samples(n, seed):
    """N doubles and N ints, the same in every language: every step is exact in 32 bits or in a double."""
    state, doubles, ints = seed & 0xFFFFFFFF, [], []
    for i in range(n):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        doubles.append((state - 2147483648) / 16777216.0)  # -128 to 128
        ints.append(EDGES[i] if i < len(EDGES) else (state >> 8) % 4001 - 2000)
    return doubles, ints


def compare(name, values, expected, is_close):
    """Raises Refused at the first difference."""
    if not isinstance(values, list):
        raise Refused(f"{name}: no values but {values!r}")
    if len(values) != len(expected):
        raise Refused(f"{name}: {len(values)} values instead of {len(expected)}")
    for i, (value, right) in enumerate(zip(values, expected)):
        if not is_close(value, right):
            raise Refused(f"{name}: value {i} is {value!r} instead of {right!r}")


def check(client, array_id, n, seed):
    doubles, ints = samples(n, seed)
    name = f"{array_id}-double"
    client.create(name, "double", doubles)
    client.apply(name, "example1")
    expected = [example1(x) for x in doubles]
    # Mathematical libraries differ in the last bits.
    compare(name, client.get(name)["result"], expected, lambda a, b: abs(a - b) <= 1e-12 + 1e-9 * abs(b))
    name = f"{array_id}-int"
    client.create(name, "int", ints)
    client.apply(name, "example2")
    compare(name, client.get(name)["result"], [example2(x) for x in ints], lambda a, b: a == b)
    print(f"ok {2 * n} values")


ARGUMENTS = {
    "create-int": (str, int),
    "create-double": (str, int),
    "apply": (str, str),
    "get": (str,),
    "check": (str, int, int),
}


def parse(host, port, command, *arguments):
    """The command line as values; raises ValueError, TypeError or KeyError if it is wrong."""
    if command == "check" and len(arguments) == 2:
        arguments += ("1",)
    kinds = ARGUMENTS[command]
    if len(arguments) != len(kinds):
        raise ValueError("wrong number of arguments")
    return host, int(port), command, [kind(argument) for kind, argument in zip(kinds, arguments)]


def run(client, command, arguments):
    array_id = arguments[0]
    if command == "create-int":
        reply = client.create(array_id, "int", [random.randint(1, 1000) for _ in range(arguments[1])])
        print(reply["status"], array_id)
    elif command == "create-double":
        reply = client.create(array_id, "double", [random.uniform(1, 100) for _ in range(arguments[1])])
        print(reply["status"], array_id)
    elif command == "apply":
        print(client.apply(*arguments)["status"], array_id)
    elif command == "get":
        reply = client.get(array_id)
        result = reply["result"]
        print(reply["status"], result if isinstance(result, str) else json.dumps(result))
    else:
        check(client, *arguments)


def main(new_client):
    """The command line, also of the level-2 client."""
    try:
        host, port, command, arguments = parse(*sys.argv[1:])
    except (ValueError, TypeError, KeyError):
        print(USAGE.format(program=os.path.basename(sys.argv[0])), file=sys.stderr)
        return 2
    try:
        run(new_client(host, port), command, arguments)
    except (Refused, OSError, ValueError) as error:  # ValueError: a reply that is not JSON
        print(f"error {error}" if str(error) else f"error {type(error).__name__}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Client))
