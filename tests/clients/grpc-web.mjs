// Google's own client for browsers, npm grpc-web, in its binary and its text mode, against the library of tests/it.
// Arguments: the gateway's address and a descriptor set. One line for each check that holds.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import web from "grpc-web";

/**
 * What a browser has and Node lacks, as far as the client asks for it. It gives out text while it comes, as browsers do;
 * the packages that call themselves XMLHttpRequest keep it until all of it is there, and a watch never begins.
 */
globalThis.XMLHttpRequest = class {
  readyState = 0;
  status = 0;
  statusText = "";
  responseType = "";
  responseText = "";
  response = null;
  #headers = {};
  #answer = new Headers();
  #leaving = new AbortController();

  open(method, url) {
    Object.assign(this, { method, url });
    this.#turn(1);
  }
  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }
  getResponseHeader(name) {
    return this.#answer.get(name);
  }
  getAllResponseHeaders() {
    return [...this.#answer].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  }
  async send(body) {
    try {
      const { method, url } = this;
      const answer = await fetch(url, { method, body, headers: this.#headers, signal: this.#leaving.signal });
      Object.assign(this, { status: answer.status, statusText: answer.statusText });
      this.#answer = answer.headers;
      this.#turn(2);
      const chunks = [];
      for await (const chunk of answer.body ?? []) {
        chunks.push(chunk);
        if (this.responseType === "") this.responseText += Buffer.from(chunk).toString("latin1");
        this.#turn(3);
      }
      if (this.responseType === "arraybuffer") this.response = new Uint8Array(Buffer.concat(chunks)).buffer;
    } catch {
      this.status = 0;
    }
    this.#turn(4);
  }
  abort() {
    this.onreadystatechange = null;
    this.#leaving.abort();
  }
  #turn(readyState) {
    if (this.#leaving.signal.aborted) return;
    this.readyState = readyState;
    this.onreadystatechange?.();
  }
};

const [address, descriptors] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const library = registry.getService("library.v1.Library");
const { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } = web;

/** A method as protoc-gen-grpc-web would have written it, and where it is; or under another name. */
function method(name, called = name) {
  const { input, output, methodKind } = library.methods.find((method) => method.name === name);
  const descriptor = new MethodDescriptor(
    `/${library.typeName}/${called}`,
    methodKind === "unary" ? MethodType.UNARY : MethodType.SERVER_STREAMING,
    Object,
    Object,
    (message) => toBinary(input, create(input, message)),
    (bytes) => fromBinary(output, bytes),
  );
  return [`http://${address}${descriptor.getName()}`, descriptor];
}

const getBook = method("GetBook");
const echo = method("Echo");
const watchBooks = method("WatchBooks");

/** Calls a unary method: its reply and metadata, or its error. */
function call(client, [url, descriptor], request, metadata = {}) {
  return new Promise((resolve) => {
    const outcome = {};
    const stream = client.rpcCall(url, request, metadata, descriptor, (error, reply) => {
      Object.assign(outcome, { error, reply });
      // The status comes in the same turn, before or after.
      setTimeout(() => resolve(outcome));
    });
    stream.on("metadata", (headers) => (outcome.headers = headers));
    stream.on("status", (status) => (outcome.status = status));
  });
}

/** Reads a server stream to its end: its messages and status; `onData` may cancel it. */
function read(client, [url, descriptor], request, onData = () => false) {
  return new Promise((resolve) => {
    const outcome = { messages: [] };
    const stream = client.serverStreaming(url, request, {}, descriptor);
    const over = () => setTimeout(() => resolve(outcome));
    stream.on("data", (message) => {
      outcome.messages.push(message.title);
      if (onData(stream)) over();
    });
    stream.on("metadata", (headers) => (outcome.headers = headers));
    stream.on("status", (status) => (outcome.status = status));
    stream.on("error", (error) => {
      outcome.error = error;
      over();
    });
    stream.on("end", over);
  });
}

const checks = {
  async "a unary call, with metadata both ways"(client) {
    const { error, reply, headers, status } = await call(client, getBook, { name: "shelves/1/books/7" }, { "x-custom": "kept" });
    assert.equal(error, null);
    assert.equal(reply.title, "Dune");
    assert.equal(headers["x-shelf"], "7");
    assert.match(headers["x-request-id"], /^[A-Za-z0-9._-]{1,128}$/);
    assert.equal(status.code, StatusCode.OK);
    assert.equal(status.metadata["x-cost"], "3");
  },
  async "a large message"(client) {
    const title = "x".repeat(1_000_000);
    const { reply } = await call(client, echo, { title, pages: 412n });
    assert.equal(reply.title, title);
    assert.equal(reply.pages, 412n);
  },
  async "an error keeps its code, message and metadata"(client) {
    const { error } = await call(client, getBook, { name: "shelves/1/books/fail" });
    assert.equal(error.code, StatusCode.NOT_FOUND);
    assert.equal(error.message, "no such bücher 100%");
    assert.equal(error.metadata["x-hint"], "elsewhere");
    assert.ok(error.metadata["grpc-status-details-bin"]);
  },
  async "a method that is not there"(client) {
    const { error } = await call(client, method("GetBook", "Missing"), {});
    assert.equal(error.code, StatusCode.UNIMPLEMENTED);
  },
  async "a deadline"(client) {
    const { error } = await call(client, getBook, { name: "shelves/1/books/hang" }, { deadline: `${Date.now() + 100}` });
    assert.equal(error.code, StatusCode.DEADLINE_EXCEEDED);
  },
  async "a server stream"(client) {
    const { messages, status, headers } = await read(client, watchBooks, { parent: "shelves/1" });
    assert.deepEqual(messages, ["A", "B"]);
    assert.equal(headers["x-shelf"], "7");
    assert.equal(status.code, StatusCode.OK);
    assert.equal(status.metadata["x-cost"], "3");
  },
  async "a stream that fails after its first message"(client) {
    const { messages, error } = await read(client, watchBooks, { parent: "shelves/break" });
    assert.deepEqual(messages, ["A"]);
    assert.equal(error.code, StatusCode.ABORTED);
    assert.equal(error.message, "enough");
    assert.equal(error.metadata["x-hint"], "no");
  },
  async "a stream that fails before it"(client) {
    const { messages, error } = await read(client, watchBooks, { parent: "shelves/fail" });
    assert.deepEqual(messages, []);
    assert.equal(error.code, StatusCode.NOT_FOUND);
  },
};

/** Only text comes in pieces: a browser gives out a binary answer when it is whole. */
const checksOfText = {
  async "a stream is read as it comes, and left"(client) {
    const onData = (stream) => (stream.cancel(), true);
    const { messages } = await read(client, watchBooks, { parent: "shelves/hang" }, onData);
    assert.deepEqual(messages, ["A"]);
  },
};

for (const [format, all] of [["text", { ...checks, ...checksOfText }], ["binary", checks]]) {
  const client = new GrpcWebClientBase({ format });
  for (const [name, check] of Object.entries(all)) {
    const late = new Promise((_, reject) => setTimeout(reject, 5000, new Error(`${name}, ${format}: it hangs`)).unref());
    await Promise.race([check(client), late]);
    console.log(`ok - ${name}, ${format}`);
  }
}
process.exit(0);
