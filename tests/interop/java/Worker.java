import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * A level-1 worker of darray, written from PROTOCOL.md: {@code java Worker ID HOST PORT}.
 *
 * <p>Exit codes: 0 the master is gone or said SHUTDOWN; 1 no master; 2 usage.
 */
public final class Worker {
    private static final long HEARTBEAT_MS = 3000;
    // The original masters throw away what arrives together with REGISTER_WORKER; a heartbeat cut in two is the end.
    private static final long FIRST_HEARTBEAT_MS = 1500;

    /** A part of an array. Values are doubles also for ints: each int32 is exact in a double. */
    private static final class Segment {
        final String dataType;
        final long start;
        final long end;
        final double[] values;
        boolean isPrimary;

        Segment(JsonObject data, boolean isPrimary) {
            this.dataType = data.get("dataType").getAsString();
            // A number may be written 3 or 3.0.
            this.start = (long) data.get("startIndex").getAsDouble();
            this.end = (long) data.get("endIndex").getAsDouble();
            this.isPrimary = isPrimary;
            JsonArray list = data.getAsJsonArray("data");
            this.values = new double[list.size()];
            for (int i = 0; i < values.length; i++) {
                double value = list.get(i).getAsDouble();
                values[i] = isInt() ? (int) value : value;
            }
        }

        boolean isInt() {
            return dataType.equals("int");
        }

        /** Whether both cannot be of one array: another type, or overlapping without being the same. */
        boolean isAtOddsWith(Segment other) {
            boolean overlap = start < other.end && other.start < end;
            boolean same = start == other.start && end == other.end;
            return !dataType.equals(other.dataType) || (overlap && !same);
        }

        JsonArray compute(String operation) {
            if (!operation.equals(isInt() ? "example2" : "example1")) {
                throw new IllegalArgumentException(operation + " does not fit " + dataType);
            }
            JsonArray results = new JsonArray(values.length);
            for (double value : values) {
                if (isInt()) {
                    results.add(Client.example2((int) value));
                } else {
                    results.add(Client.example1(value));
                }
            }
            return results;
        }
    }

    private final String id;
    private final Socket socket;
    /** Array id, then segment id. Only the reading thread touches it. */
    private final Map<String, TreeMap<Integer, Segment>> arrays = new HashMap<>();

    private Worker(String id, Socket socket) {
        this.id = id;
        this.socket = socket;
    }

    /** Two threads write, and a line must never land in the middle of another. */
    private synchronized void send(String type, JsonObject data) throws IOException {
        String line = Client.message(type, id, data) + "\n";
        socket.getOutputStream().write(line.getBytes(StandardCharsets.UTF_8));
    }

    private void register() throws IOException {
        JsonObject data = new JsonObject();
        data.addProperty("host", socket.getLocalAddress().getHostAddress());
        data.addProperty("port", socket.getLocalPort());
        data.addProperty("cores", Runtime.getRuntime().availableProcessors());
        data.addProperty("memory", Runtime.getRuntime().maxMemory() >> 20);
        send("REGISTER_WORKER", data);
    }

    private void beat() {
        try {
            Thread.sleep(FIRST_HEARTBEAT_MS);
            while (true) {
                send("HEARTBEAT", new JsonObject());
                Thread.sleep(HEARTBEAT_MS);
            }
        } catch (IOException | InterruptedException e) {
            // The reader notices too, and ends the process.
        }
    }

    /** Handles lines until the master is gone or says SHUTDOWN. */
    private void read() throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (line.isBlank()) {
                continue;
            }
            JsonObject message = JsonParser.parseString(line).getAsJsonObject();
            JsonElement data = message.get("data");
            JsonObject object = data != null && data.isJsonObject() ? data.getAsJsonObject() : new JsonObject();
            switch (message.get("type").getAsString()) {
                case "DISTRIBUTE_ARRAY" -> store(object, true);
                case "REPLICATE_DATA" -> store(object, false);
                case "PROCESS_SEGMENT" -> process(object);
                case "RECOVER_DATA" -> recover(object);
                case "SHUTDOWN" -> {
                    return;
                }
                default -> { } // none of this worker's business
            }
        }
    }

    /** The id may come as 0, 0.0 or "0". */
    private static int segmentId(JsonObject data) {
        return (int) data.get("segmentId").getAsDouble();
    }

    private TreeMap<Integer, Segment> held(JsonObject data) {
        return arrays.computeIfAbsent(data.get("arrayId").getAsString(), name -> new TreeMap<>());
    }

    private void store(JsonObject data, boolean isPrimary) {
        Segment segment = new Segment(data, isPrimary);
        TreeMap<Integer, Segment> held = held(data);
        // An original master never says that an array has been replaced by another of the same name.
        if (held.values().stream().anyMatch(segment::isAtOddsWith)) {
            held.clear();
        }
        held.put(segmentId(data), segment);
    }

    /** Answers once for every primary segment, which is what all masters count on. */
    private void process(JsonObject data) throws IOException {
        boolean answered = false;
        for (Map.Entry<Integer, Segment> entry : held(data).entrySet()) {
            if (entry.getValue().isPrimary) {
                String status = "completed";
                JsonArray values;
                try {
                    values = entry.getValue().compute(data.get("operation").getAsString());
                } catch (IllegalArgumentException e) {
                    System.err.println("worker: " + e.getMessage());
                    // An answer in any case: the original Java master dies of one without a list.
                    status = "error";
                    values = new JsonArray();
                }
                result(data, entry.getKey(), status, values);
                answered = true;
            }
        }
        if (!answered) {
            result(data, 0, "error", new JsonArray());
        }
    }

    private void result(JsonObject request, int segmentId, String status, JsonArray values) throws IOException {
        JsonObject data = new JsonObject();
        data.add("arrayId", request.get("arrayId"));
        data.addProperty("segmentId", segmentId);
        data.addProperty("status", status);
        data.add("data", values);
        send("SEGMENT_RESULT", data);
    }

    private void recover(JsonObject data) throws IOException {
        if (!data.has("makePrimary") || !data.get("makePrimary").getAsBoolean()) {
            return;
        }
        Segment segment = held(data).get(segmentId(data));
        if (segment != null) {
            segment.isPrimary = true;
        }
        JsonObject answer = new JsonObject();
        answer.add("arrayId", data.get("arrayId"));
        answer.add("segmentId", data.get("segmentId"));
        answer.addProperty("status", segment != null ? "recovered" : "error");
        send("RECOVERY_COMPLETE", answer);
    }

    public static void main(String[] args) {
        if (args.length != 3 || !args[2].matches("\\d+")) {
            System.err.println("usage: Worker ID HOST PORT");
            System.exit(2);
        }
        Socket socket = new Socket();
        try {
            socket.connect(new InetSocketAddress(args[1], Integer.parseInt(args[2])), 10_000);
            socket.setTcpNoDelay(true);
        } catch (IOException e) {
            System.err.println("worker: no master at " + args[1] + ":" + args[2] + ": " + e.getMessage());
            System.exit(1);
        }
        Worker worker = new Worker(args[0], socket);
        try {
            worker.register();
            Thread heartbeats = new Thread(worker::beat, "heartbeats");
            heartbeats.setDaemon(true);
            heartbeats.start();
            worker.read();
        } catch (IOException e) {
            System.err.println("worker: " + e.getMessage());
        }
        System.exit(0);
    }
}
