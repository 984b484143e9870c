"""What the imitations of original nodes share: their quirks, their reports, and how each flavour writes JSON."""

import argparse
import json
import math
import os
import signal
import sys
import threading
import time


class Quirks:
    """The behaviours that are switched on. A quirk that changes what happens is said to have bitten."""

    def __init__(self, program, values, report):
        self.program = program
        self.values = values  # name -> number or None
        self.report = report

    def __contains__(self, name):
        return name in self.values

    def number(self, name, default=0.0):
        value = self.values.get(name)
        return default if value is None else value

    def bite(self, name, why):
        """Notes that a quirk changed what happens. Tests look for the line."""
        say(self.program, f"bitten: {name} ({why})")
        self.report.count_bite(name)


def say(program, text):
    """One write per line, so that lines of several threads do not mix."""
    sys.stderr.write(f"{program}: {text}\n" if not text.startswith("bitten:") else text + "\n")
    sys.stderr.flush()


def add_quirk_options(parser, known, faults=None):
    """Adds --quirks, --no-quirks and --faults, and their list to the help."""
    faults = faults or {}
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    lines = ["quirks, all on unless said otherwise (NAME=NUMBER sets a number):"]
    lines += [f"  {name:18} {text}" for name, text in known.items()]
    if faults:
        lines += ["faults, all off unless said otherwise:"]
        lines += [f"  {name:18} {text}" for name, text in faults.items()]
    lines += ["A line `bitten: NAME (...)` on standard error says that one has changed what happens."]
    parser.epilog = "\n".join(lines)
    parser.add_argument("--quirks", metavar="LIST", help="exactly these quirks and faults; 'none' for none")
    parser.add_argument("--no-quirks", metavar="LIST", help="all quirks but these")
    if faults:
        parser.add_argument("--faults", metavar="LIST", help="these faults besides")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, which started it, has ended")
    parser.add_argument("--report", metavar="FILE", help="a JSON object with counts, rewritten when something changes")


def parse_list(parser, text, known):
    values = {}
    for item in [item for item in (text or "").split(",") if item and item != "none"]:
        name, _, number = item.partition("=")
        if name not in known:
            parser.error(f"there is no quirk {name!r} here; there are {', '.join(known)}")
        try:
            values[name] = float(number) if number else None
        except ValueError:
            parser.error(f"{number!r} in {item!r} is no number")
    return values


def chosen_quirks(parser, options, known, defaults, faults=None):
    """The quirks the options ask for; `defaults` is what is on when nothing is said."""
    names = {**known, **(faults or {})}
    if options.quirks is not None:
        values = parse_list(parser, options.quirks, names)
    else:
        off = parse_list(parser, options.no_quirks, known)
        values = {name: None for name in defaults if name not in off}
    if faults:
        values.update(parse_list(parser, options.faults, faults))
    return values


class Report:
    """Counts that a test can read at any time from a file, which is always whole."""

    def __init__(self, path, **fields):
        self.path = path
        self.lock = threading.RLock()
        self.fields = {**fields, "bitten": {}}
        self.changed = True
        if path:
            threading.Thread(target=self.keep_writing, daemon=True).start()

    def set(self, **fields):
        with self.lock:
            self.fields.update(fields)
            self.changed = True

    def add(self, name, number=1):
        with self.lock:
            self.fields[name] = self.fields.get(name, 0) + number
            self.changed = True

    def append(self, name, item):
        with self.lock:
            self.fields.setdefault(name, []).append(item)
            self.changed = True

    def count_bite(self, name):
        with self.lock:
            self.fields["bitten"][name] = self.fields["bitten"].get(name, 0) + 1
            self.changed = True
        self.write()

    def write(self):
        with self.lock:
            if self.path and self.changed:
                self.changed = False
                with open(self.path + ".new", "w", encoding="utf-8") as file:
                    json.dump(self.fields, file, indent=1)
                os.replace(self.path + ".new", self.path)

    def keep_writing(self):
        while True:
            self.write()
            time.sleep(0.1)


def leave(report, status):
    """Ends the process from any thread, with the report written."""
    report.write()
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(status)


def leave_in_time(report, parent):
    """Ends on signals, and if wanted with the program that started this one: a zombie would stay for ever."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave(report, 0))

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        leave(report, 0)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


# --- How each flavour writes a message


def java_hash_order(keys):
    """The order in which a java.util.HashMap of default size gives its keys."""

    def bucket(key):
        code, units = 0, key.encode("utf-16-be")
        for high, low in zip(units[::2], units[1::2]):
            code = (31 * code + (high << 8 | low)) & 0xFFFFFFFF
        return (code ^ code >> 16) & 15

    return sorted(keys, key=bucket)


def java_double(x):
    """A double as Java prints it: 2.0, 3.0E10, 1.4869635968220078E-6."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    if x == 0 or 1e-3 <= abs(x) < 1e7:
        return repr(x)
    sign, digits, exponent = decimal_digits(x)
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def decimal_digits(x):
    """Sign, shortest digits without point, and the exponent of the first digit."""
    mantissa, _, exponent = repr(abs(x)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    if whole.strip("0"):
        first = len(whole) - 1
    else:
        first = -1 - (len(fraction) - len(fraction.lstrip("0")))
    return ("-" if x < 0 else ""), digits.rstrip("0") or "0", first + int(exponent or 0)


def java_json(value):
    """JSON as gson writes it: compact, maps in hash order, text beyond ASCII as it is."""
    if isinstance(value, dict):
        order = value if "type" in value else java_hash_order(value)
        return "{" + ",".join(f"{java_json(key)}:{java_json(value[key])}" for key in order) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(java_json, value)) + "]"
    if isinstance(value, float):
        return java_double(value)
    return json.dumps(value, ensure_ascii=False)


def write_json(flavour, value):
    """The bytes of a message as a node of that flavour writes it, with the newline."""
    text = java_json(value) if flavour == "java" else json.dumps(value)
    return text.encode("utf-8") + b"\n"


def envelope(kind, sender, receiver, data):
    return {
        "type": kind,
        "from": sender,
        "to": receiver,
        "timestamp": int(time.time() * 1000),
        "data": data,
    }


def saturate_int32(x):
    """Java's cast of a double to an int."""
    if math.isnan(x):
        return 0
    return int(max(-2147483648.0, min(2147483647.0, x)))
