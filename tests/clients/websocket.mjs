// npm `ws`, and the WebSocket that Node has as browsers do, against the booking system: `node websocket.mjs HOST:PORT`.
import assert from "node:assert/strict";
import { once } from "node:events";
import Client from "ws";

const address = process.argv[2];
const rest = async (method, path, body, token) => {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(`http://${address}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  assert.equal(answer.ok, true, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
};

/** All text frames until `count` have come or it closes, and the close. */
const talk = (socket, count, then = () => {}) =>
  new Promise((resolve, reject) => {
    const frames = [];
    socket.onmessage = ({ data }) => {
      frames.push(data);
      if (frames.length === count) then(frames);
    };
    socket.onclose = ({ code, reason }) => resolve({ frames, code, reason });
    socket.onerror = (error) => reject(error.error ?? error);
  });

const user = { email: `ws-${process.pid}@example.com`, password: "correct horse battery" };
await rest("POST", "/auth/register", user);
const { accessToken } = await rest("POST", "/auth/login", { email: user.email, password: user.password });
const { events } = await rest("GET", "/events");
const id = events[0].eventId;
/** A path with a token in its query: the token is good for one socket, and for ten seconds. */
const ticketed = async (path) => {
  const { token } = await rest("GET", "/auth/ws-token", undefined, accessToken);
  return `ws://${address}${path}?token=${token}`;
};
const watch = `/api/v1/events/${id}:watch`;

const checks = {
  async "a browser's socket watches an event"() {
    const socket = new Client(await ticketed(watch));
    const { frames, code } = await talk(socket, 1, () => socket.close(1000));
    assert.equal(JSON.parse(frames[0]).eventId, id);
    assert.equal(code, 1000);
  },
  async "the same over the RPC's own path, asked by a message"() {
    const socket = new Client(await ticketed("/ticket.TicketService/WatchEvent"), "json");
    socket.on("open", () => socket.send(JSON.stringify({ eventId: id })));
    const { frames } = await talk(socket, 1, () => socket.close());
    assert.equal(socket.protocol, "json");
    assert.equal(JSON.parse(frames[0]).eventId, id);
  },
  async "a status is a close code"() {
    const socket = new Client(await ticketed("/api/v1/events/no-such-event:watch"));
    const { frames, code } = await talk(socket, 99);
    assert.equal(code, 4005);
    assert.equal(JSON.parse(frames.at(-1)).error.code, 5);
  },
  async "a browser, which sends no headers, opens one too"() {
    // Node 22 has a WebSocket as browsers do.
    const socket = new (globalThis.WebSocket ?? Client)(await ticketed(watch), ["json"]);
    const { frames, code } = await talk(socket, 1, () => socket.close(1000));
    assert.equal(JSON.parse(frames[0]).eventId, id);
    assert.equal(code, 1000);
  },
  async "who brings no token gets no socket"() {
    const socket = new Client(`ws://${address}${watch}`);
    const [, answer] = await once(socket, "unexpected-response");
    assert.equal(answer.statusCode, 401);
    answer.destroy();
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok - ${name}`);
}
