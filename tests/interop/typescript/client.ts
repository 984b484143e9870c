// A level-1 client of darray, written from PROTOCOL.md: one JSON line per request, one per reply, values inline.

import * as net from "net";

const USAGE = `usage: client HOST PORT create-int ID SIZE | create-double ID SIZE | apply ID OP | get ID | check ID N [SEED]

create-int, create-double  store SIZE random values (1 to 1000, 1 to 100)
apply                      compute example1 (doubles) or example2 (ints) on every value
get                        print the status, and the values or what went wrong
check                      store, compute and read N doubles and N ints, and compare with its own computation

DARRAY_TIMEOUT sets how many seconds a reply may take (180). Exit: 0 done, 1 wrong or refused, 2 usage.`;

// A master may take 120 s and more for GET_RESULT: it waits for the operation.
const TIMEOUT_MS = Number(process.env.DARRAY_TIMEOUT ?? "180") * 1000;

// The values at the edges of example2, in front of the pseudo-random ones.
const EDGES = [-6, -3, -1, 0, 1, 3, 499, 500, 1000, 1002, 2147483646, 2147483647, -2147483648];

type DataType = "int" | "double";

interface Reply {
    status: string;
    // Not every number has a JSON literal: an original master sends the text "NaN".
    result?: string | (number | string)[];
    code?: string;
}

/** The master said no, or nothing, or something wrong. */
class Refused extends Error {}

class Client {
    constructor(private readonly host: string, private readonly port: number) {}

    /**
     * Sends one request and gives the data of the reply. Every request has a connection of its own: an original master
     * answers only the first line of each, and never closes it.
     */
    request(type: string, data: object): Promise<Reply> {
        const message = { type, from: "client", to: "master", timestamp: Date.now(), data };
        return new Promise<string>((resolve, reject) => {
            const connection = net.createConnection({ host: this.host, port: this.port });
            const timer = setTimeout(() => settle(() => reject(new Refused("out of time"))), TIMEOUT_MS);
            const settle = (outcome: () => void) => {
                clearTimeout(timer);
                connection.destroy();
                outcome();
            };
            // A long reply comes in many pieces; only the newline says that it is whole.
            const pieces: string[] = [];
            connection.setNoDelay(true).setEncoding("utf8"); // which keeps characters whole across pieces
            connection.on("connect", () => connection.write(JSON.stringify(message) + "\n"));
            connection.on("data", (piece) => {
                pieces.push(piece);
                if (piece.endsWith("\n")) {
                    settle(() => resolve(pieces.join("")));
                }
            });
            connection.on("end", () =>
                settle(() => reject(new Refused("the master closed the connection without a reply"))),
            );
            connection.on("error", (error) => settle(() => reject(error)));
        }).then((line) => {
            // The literals NaN and Infinity are not JSON, though masters in other languages write them.
            const text = line.replace(/([[,:]\s*)(NaN|-?Infinity)(?=\s*[\],}])/g, '$1"$2"');
            const reply: Reply = JSON.parse(text).data;
            if (reply.status === "error") {
                throw new Refused(`${reply.code ?? "error"} ${reply.result}`);
            }
            return reply;
        });
    }

    /** Stores an array, in place of any other of that name. */
    create(arrayId: string, dataType: DataType, values: number[]): Promise<Reply> {
        return this.request("CREATE_ARRAY", { arrayId, dataType, values });
    }

    /** Starts an operation; get() waits for it. */
    apply(arrayId: string, operation: string): Promise<Reply> {
        return this.request("APPLY_OPERATION", { arrayId, operation });
    }

    /** Waits for the newest operation on the array and gives its values. */
    get(arrayId: string): Promise<Reply> {
        return this.request("GET_RESULT", { arrayId });
    }
}

function example1(x: number): number {
    const sum = Math.sin(x) + Math.cos(x);
    return (sum * sum) / (Math.sqrt(Math.abs(x)) + 1);
}

function example2(x: number): number {
    if (x % 3 !== 0 && (x < 500 || x > 1000)) {
        return x;
    }
    // There is no logarithm of these; they are defined to give 0.
    return x <= 0 ? 0 : Math.trunc((x * Math.log(x)) % 7);
}

/** N doubles and N ints, the same in every language: every step is exact in 32 bits or in a double. */
function samples(n: number, seed: number): { doubles: number[]; ints: number[] } {
    const doubles: number[] = [];
    const ints: number[] = [];
    let state = seed >>> 0;
    for (let i = 0; i < n; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        doubles.push((state - 2147483648) / 16777216); // -128 to 128
        ints.push(i < EDGES.length ? EDGES[i] : ((state >>> 8) % 4001) - 2000);
    }
    return { doubles, ints };
}

async function compare(
    client: Client,
    name: string,
    expected: number[],
    isClose: (value: number, right: number) => boolean,
): Promise<void> {
    const values = (await client.get(name)).result;
    if (!Array.isArray(values)) {
        throw new Refused(`${name}: no values but ${values}`);
    }
    if (values.length !== expected.length) {
        throw new Refused(`${name}: ${values.length} values instead of ${expected.length}`);
    }
    expected.forEach((right, i) => {
        if (!isClose(Number(values[i]), right)) {
            throw new Refused(`${name}: value ${i} is ${values[i]} instead of ${right}`);
        }
    });
}

async function check(client: Client, arrayId: string, n: number, seed: number): Promise<string> {
    const { doubles, ints } = samples(n, seed);
    await client.create(`${arrayId}-double`, "double", doubles);
    await client.apply(`${arrayId}-double`, "example1");
    // Mathematical libraries differ in the last bits.
    const isClose = (a: number, b: number) => Math.abs(a - b) <= 1e-12 + 1e-9 * Math.abs(b);
    await compare(client, `${arrayId}-double`, doubles.map(example1), isClose);
    await client.create(`${arrayId}-int`, "int", ints);
    await client.apply(`${arrayId}-int`, "example2");
    await compare(client, `${arrayId}-int`, ints.map(example2), (a, b) => a === b);
    return `ok ${2 * n} values`;
}

function random(size: number, next: () => number): number[] {
    return Array.from({ length: size }, next);
}

/** Carries out a command and gives what to print, or undefined if the command line is wrong. */
async function run(argv: string[]): Promise<string | undefined> {
    const [host, port, command, arrayId, second, third] = argv;
    const isCount = (text?: string) => text !== undefined && /^\d+$/.test(text);
    if (!isCount(port) || arrayId === undefined || argv.length > (command === "check" ? 6 : 5)) {
        return undefined;
    }
    const client = new Client(host, Number(port));
    if (command === "create-int" && isCount(second)) {
        const values = random(Number(second), () => 1 + Math.floor(Math.random() * 1000));
        return `${(await client.create(arrayId, "int", values)).status} ${arrayId}`;
    } else if (command === "create-double" && isCount(second)) {
        const values = random(Number(second), () => 1 + Math.random() * 99);
        return `${(await client.create(arrayId, "double", values)).status} ${arrayId}`;
    } else if (command === "apply" && second !== undefined) {
        return `${(await client.apply(arrayId, second)).status} ${arrayId}`;
    } else if (command === "get" && second === undefined) {
        const { status, result } = await client.get(arrayId);
        return `${status} ${typeof result === "string" ? result : JSON.stringify(result)}`;
    } else if (command === "check" && isCount(second) && (third === undefined || isCount(third))) {
        return check(client, arrayId, Number(second), Number(third ?? "1"));
    }
    return undefined;
}

run(process.argv.slice(2)).then(
    (line) => {
        if (line === undefined) {
            console.error(USAGE);
        } else {
            console.log(line);
        }
        process.exitCode = line === undefined ? 2 : 0;
    },
    (error: Error) => {
        console.log(`error ${error.message}`);
        process.exitCode = 1;
    },
);
