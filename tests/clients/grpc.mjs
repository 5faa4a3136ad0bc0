// @grpc/grpc-js against the booking system through the gateway: `node grpc.mjs HOST:PORT`. Exits 0 when all holds.
import assert from "node:assert/strict";
import path from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const address = process.argv[2];
const protos = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../proto");
const files = ["auth/auth.proto", "ticket/ticket.proto", "ticket/inventory.proto", "booking/booking.proto"];
const packages = grpc.loadPackageDefinition(
  loader.loadSync(files, { includeDirs: [protos], keepCase: true, longs: String, enums: String, defaults: true }),
);
const plain = grpc.credentials.createInsecure();
const soon = () => new Date(Date.now() + 5000);

/** One unary call: its reply, response metadata and trailers, or the error. */
function call(client, method, request, metadata = new grpc.Metadata(), deadline = soon()) {
  return new Promise((resolve) => {
    const outcome = {};
    const running = client[method](request, metadata, { deadline }, (error, reply) => {
      Object.assign(outcome, { error, reply });
      if (error) resolve(outcome);
    });
    running.on("metadata", (headers) => (outcome.headers = headers));
    running.on("status", (status) => resolve(Object.assign(outcome, { status })));
  });
}

const auth = new packages.auth.AuthService(address, plain);
const tickets = new packages.ticket.TicketService(address, plain);
const bookings = new packages.booking.BookingService(address, plain);
const inventory = new packages.ticket.TicketInventory(address, plain);

/** Who asks: set by the first check. */
const me = new grpc.Metadata();

const checks = {
  async "unary calls log in and carry the token on"() {
    const user = { email: `grpc-${process.pid}@example.com`, password: "correct horse battery" };
    const registered = await call(auth, "Register", { ...user, first_name: "Ada", last_name: "L" });
    assert.equal(registered.error, null);
    assert.ok(registered.reply.user_id);
    assert.match(registered.headers.get("x-request-id")[0], /^[A-Za-z0-9._-]{1,128}$/);
    const { reply } = await call(auth, "Login", user);
    me.set("authorization", `Bearer ${reply.access_token}`);
    const profile = await call(auth, "GetUserProfile", {}, me);
    assert.equal(profile.error, null);
    assert.equal(profile.reply.email, user.email);
    const list = await call(bookings, "ListBookings", {}, me);
    assert.deepEqual(list.reply.bookings, []);
  },

  async "the gateway turns away who brings no token, or another one than it verifies"() {
    for (const [sent, reason] of [[{}, "TOKEN_MISSING"], [{ authorization: "Bearer a.b.c" }, "TOKEN_INVALID"]]) {
      const metadata = grpc.Metadata.fromHttp2Headers({ ...sent, "x-user-id": "admin" });
      const { error } = await call(bookings, "ListBookings", {}, metadata);
      assert.equal(error.code, grpc.status.UNAUTHENTICATED);
      assert.ok(error.metadata.get("grpc-status-details-bin")[0].includes(reason));
    }
  },

  async "an error keeps its code, message and details"() {
    const { error } = await call(tickets, "GetEventById", { event_id: "no such event" });
    assert.equal(error.code, grpc.status.NOT_FOUND);
    assert.ok(error.details.length > 0);
    const details = error.metadata.get("grpc-status-details-bin")[0];
    assert.ok(details.includes("type.googleapis.com/google.rpc."), "the details cross as they are");
  },

  async "a server stream opens, delivers and is cancelled"() {
    const { reply } = await call(tickets, "GetEvents", { page_size: 1 });
    const stream = tickets.WatchEvent({ event_id: reply.events[0].event_id }, me);
    await new Promise((resolve, reject) => {
      stream.on("data", (message) => {
        assert.equal(message.event_id, reply.events[0].event_id);
        stream.cancel();
      });
      stream.on("error", (error) => (error.code === grpc.status.CANCELLED ? resolve() : reject(error)));
      stream.on("end", () => reject(new Error("it ended by itself")));
    });
  },

  async "a deadline ends a quiet stream"() {
    const { reply } = await call(tickets, "GetEvents", { page_size: 1 });
    const stream = tickets.WatchEvent({ event_id: reply.events[0].event_id }, me, { deadline: Date.now() + 300 });
    stream.on("data", () => {});
    const error = await new Promise((resolve) => stream.on("error", resolve));
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
  },

  async "a method that is not exposed is not there"() {
    const { error } = await call(inventory, "GetReservation", { reservation_id: "r" });
    assert.equal(error.code, grpc.status.UNIMPLEMENTED);
  },

  async "the gateway answers for its own health"() {
    const raw = new grpc.Client(address, plain);
    const asIs = (bytes) => bytes;
    const reply = await new Promise((resolve, reject) =>
      raw.makeUnaryRequest("/grpc.health.v1.Health/Check", asIs, asIs, Buffer.alloc(0), { deadline: soon() }, (error, bytes) =>
        error ? reject(error) : resolve(bytes),
      ),
    );
    assert.deepEqual([...reply], [8, 1]);
    const error = await new Promise((resolve) =>
      raw.makeUnaryRequest("/grpc.health.v1.Health/Check", asIs, asIs, Buffer.from([10, 2, 122, 122]), { deadline: soon() }, resolve),
    );
    assert.equal(error.code, grpc.status.NOT_FOUND, error.message);
    raw.close();
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok - ${name}`);
}
for (const client of [auth, tickets, bookings, inventory]) client.close();
