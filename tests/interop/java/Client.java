import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Random;

/** A level-1 client of darray, written from PROTOCOL.md: one JSON line per request, one per reply, values inline. */
public final class Client {
    private static final String USAGE =
            """
            usage: Client HOST PORT create-int ID SIZE | create-double ID SIZE | apply ID OP | get ID | check ID N [SEED]

            create-int, create-double  store SIZE random values (1 to 1000, 1 to 100)
            apply                      compute example1 (doubles) or example2 (ints) on every value
            get                        print the status, and the values or what went wrong
            check                      store, compute and read N doubles and N ints, and compare with its own computation

            DARRAY_TIMEOUT sets how many seconds a reply may take (180). Exit: 0 done, 1 wrong or refused, 2 usage.""";

    /** The values at the edges of example2, in front of the pseudo-random ones. */
    private static final int[] EDGES = {
        -6, -3, -1, 0, 1, 3, 499, 500, 1000, 1002, 2147483646, 2147483647, -2147483648
    };

    /** The master said no, or nothing, or something wrong. */
    private static final class Refused extends Exception {
        private static final long serialVersionUID = 1;

        Refused(String message) {
            super(message);
        }
    }

    private final String host;
    private final int port;

    private Client(String host, int port) {
        this.host = host;
        this.port = port;
    }

    /** A message as a line without its end. All five fields: the original Python nodes want them. */
    static String message(String type, String from, JsonObject data) {
        JsonObject message = new JsonObject();
        message.addProperty("type", type);
        message.addProperty("from", from);
        message.addProperty("to", "master");
        message.addProperty("timestamp", System.currentTimeMillis());
        message.add("data", data);
        return message.toString();
    }

    /** A master may take 120 s and more for GET_RESULT: it waits for the operation. */
    private static int timeoutMs() {
        String seconds = System.getenv("DARRAY_TIMEOUT");
        return seconds == null ? 180_000 : (int) (Double.parseDouble(seconds) * 1000);
    }

    /**
     * Sends one request and returns the data of the reply. Every request has a connection of its own: an original
     * master answers only the first line of each, and never closes it.
     */
    private JsonObject request(String type, JsonObject data) throws IOException, Refused {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(host, port), 10_000);
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(timeoutMs());
            socket.getOutputStream().write((message(type, "client", data) + "\n").getBytes(StandardCharsets.UTF_8));
            var in = new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8);
            String line = new BufferedReader(in).readLine();
            if (line == null) {
                throw new Refused("the master closed the connection without a reply");
            }
            JsonObject reply = JsonParser.parseString(line).getAsJsonObject().getAsJsonObject("data");
            if (reply.get("status").getAsString().equals("error")) {
                String code = reply.has("code") ? reply.get("code").getAsString() : "error";
                throw new Refused(code + " " + reply.get("result").getAsString());
            }
            return reply;
        }
    }

    private String create(String arrayId, String dataType, JsonArray values) throws IOException, Refused {
        JsonObject data = new JsonObject();
        data.addProperty("arrayId", arrayId);
        data.addProperty("dataType", dataType);
        data.add("values", values);
        return request("CREATE_ARRAY", data).get("status").getAsString() + " " + arrayId;
    }

    private String apply(String arrayId, String operation) throws IOException, Refused {
        JsonObject data = new JsonObject();
        data.addProperty("arrayId", arrayId);
        data.addProperty("operation", operation);
        return request("APPLY_OPERATION", data).get("status").getAsString() + " " + arrayId;
    }

    private JsonObject get(String arrayId) throws IOException, Refused {
        JsonObject data = new JsonObject();
        data.addProperty("arrayId", arrayId);
        return request("GET_RESULT", data);
    }

    static double example1(double x) {
        double sum = Math.sin(x) + Math.cos(x);
        return sum * sum / (Math.sqrt(Math.abs(x)) + 1.0);
    }

    static int example2(int x) {
        if (x % 3 != 0 && (x < 500 || x > 1000)) {
            return x;
        }
        // There is no logarithm of these; they are defined to give 0.
        return x <= 0 ? 0 : (int) (x * Math.log(x) % 7.0);
    }

    private interface IsClose {
        boolean test(double value, double expected);
    }

    private void compare(String name, double[] expected, IsClose isClose) throws IOException, Refused {
        JsonElement result = get(name).get("result");
        if (!result.isJsonArray()) {
            throw new Refused(name + ": no values but " + result);
        }
        JsonArray values = result.getAsJsonArray();
        if (values.size() != expected.length) {
            throw new Refused(name + ": " + values.size() + " values instead of " + expected.length);
        }
        for (int i = 0; i < expected.length; i++) {
            double value = values.get(i).getAsDouble();
            if (!isClose.test(value, expected[i])) {
                throw new Refused(name + ": value " + i + " is " + value + " instead of " + expected[i]);
            }
        }
    }

    /** Stores, computes and reads pseudo-random values, the same ones in every language. */
    private String check(String arrayId, int n, long seed) throws IOException, Refused {
        JsonArray doubles = new JsonArray(n);
        JsonArray ints = new JsonArray(n);
        double[] expectedDoubles = new double[n];
        double[] expectedInts = new double[n];
        long state = seed & 0xFFFFFFFFL;
        for (int i = 0; i < n; i++) {
            state = (state * 1664525 + 1013904223) & 0xFFFFFFFFL;
            double x = (state - 2147483648L) / 16777216.0; // -128 to 128, exactly
            int k = i < EDGES.length ? EDGES[i] : (int) ((state >> 8) % 4001 - 2000);
            doubles.add(x);
            ints.add(k);
            expectedDoubles[i] = example1(x);
            expectedInts[i] = example2(k);
        }
        create(arrayId + "-double", "double", doubles);
        apply(arrayId + "-double", "example1");
        // Mathematical libraries differ in the last bits.
        compare(arrayId + "-double", expectedDoubles, (a, b) -> Math.abs(a - b) <= 1e-12 + 1e-9 * Math.abs(b));
        create(arrayId + "-int", "int", ints);
        apply(arrayId + "-int", "example2");
        compare(arrayId + "-int", expectedInts, (a, b) -> a == b);
        return "ok " + 2 * n + " values";
    }

    private static JsonArray random(int size, boolean isInt) {
        Random random = new Random();
        JsonArray values = new JsonArray(size);
        for (int i = 0; i < size; i++) {
            if (isInt) {
                values.add(1 + random.nextInt(1000));
            } else {
                values.add(1 + 99 * random.nextDouble());
            }
        }
        return values;
    }

    /** Carries out a command and returns what to print, or null if there is no such command. */
    private String run(String command, String[] rest) throws IOException, Refused {
        if (command.equals("create-int") && rest.length == 2) {
            return create(rest[0], "int", random(Integer.parseInt(rest[1]), true));
        } else if (command.equals("create-double") && rest.length == 2) {
            return create(rest[0], "double", random(Integer.parseInt(rest[1]), false));
        } else if (command.equals("apply") && rest.length == 2) {
            return apply(rest[0], rest[1]);
        } else if (command.equals("get") && rest.length == 1) {
            JsonObject reply = get(rest[0]);
            JsonElement result = reply.get("result");
            String text = result.isJsonPrimitive() ? result.getAsString() : result.toString();
            return reply.get("status").getAsString() + " " + text;
        } else if (command.equals("check") && (rest.length == 2 || rest.length == 3)) {
            return check(rest[0], Integer.parseInt(rest[1]), rest.length == 3 ? Long.parseLong(rest[2]) : 1);
        }
        return null;
    }

    private static int main(String[] args, java.io.PrintStream out) {
        try {
            if (args.length > 3) {
                String[] rest = java.util.Arrays.copyOfRange(args, 3, args.length);
                String line = new Client(args[0], Integer.parseInt(args[1])).run(args[2], rest);
                if (line != null) {
                    out.println(line);
                    return 0;
                }
            }
        } catch (Refused | IOException | JsonParseException | IllegalStateException e) {
            out.println("error " + (e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage()));
            return 1;
        } catch (NumberFormatException e) {
            // A size or port that is no number; the reply's numbers are read as doubles above.
        }
        System.err.println(USAGE);
        return 2;
    }

    public static void main(String[] args) throws IOException {
        System.exit(main(args, new java.io.PrintStream(System.out, true, StandardCharsets.UTF_8)));
    }
}
