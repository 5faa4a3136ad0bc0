// Connect, gRPC-Web and gRPC by @connectrpc/connect-node, over HTTP/1.1 and HTTP/2, in protobuf and in JSON, against the
// library of tests/it. Arguments: the gateway's address and a descriptor set. One line for each check that holds.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";

const [address, descriptors] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const library = registry.getService("library.v1.Library");
const baseUrl = `http://${address}`;

const transports = [];
for (const httpVersion of ["1.1", "2"]) {
  for (const useBinaryFormat of [true, false]) {
    const options = { baseUrl, httpVersion, useBinaryFormat, jsonOptions: { registry } };
    const name = `HTTP/${httpVersion} ${useBinaryFormat ? "protobuf" : "JSON"}`;
    transports.push([`Connect ${name}`, createConnectTransport(options), options]);
    transports.push([`Connect ${name} GET`, createConnectTransport({ ...options, useHttpGet: true }), options]);
    const packed = { ...options, sendCompression: compressionGzip, compressMinBytes: 10 };
    transports.push([`gRPC-Web ${name}`, createGrpcWebTransport(options), options]);
    if (!useBinaryFormat) {
      // What is unread crosses as it was packed: the test's upstream unpacks nothing.
      transports.push([`Connect ${name} gzip`, createConnectTransport(packed), options]);
      transports.push([`gRPC-Web ${name} gzip`, createGrpcWebTransport(packed), options]);
    }
    if (httpVersion === "2") transports.push([`gRPC ${name}`, createGrpcTransport(options), options]);
  }
}

/** The error that a call ends in. */
async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("it succeeded");
}

async function collect(stream) {
  const messages = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

async function* remarks(...texts) {
  for (const text of texts) yield { text };
}

async function check(name, transport, { httpVersion }) {
  const client = createClient(library, transport);
  const metadata = {};
  const reply = await client.getBook(
    { name: "shelves/1/books/7" },
    {
      headers: { "x-custom": "kept" },
      onHeader: (headers) => (metadata.header = headers.get("x-shelf")),
      onTrailer: (trailers) => (metadata.trailer = trailers.get("x-cost")),
    },
  );
  assert.equal(reply.title, "Dune");
  assert.deepEqual(metadata, { header: "7", trailer: "3" });

  const long = "x".repeat(100_000);
  assert.equal((await client.echo({ title: long, pages: 412n })).title, long);

  const missing = await failure(client.getBook({ name: "shelves/1/books/fail" }));
  assert.equal(missing.code, Code.NotFound);
  assert.equal(missing.rawMessage, "no such bücher 100%");
  assert.equal(missing.metadata.get("x-hint"), "elsewhere");
  const schema = registry.getMessage("library.v1.GetBookRequest");
  assert.deepEqual(missing.findDetails(schema).map((detail) => detail.name), ["x"]);

  const late = await failure(client.getBook({ name: "shelves/1/books/hang" }, { timeoutMs: 100 }));
  assert.equal(late.code, Code.DeadlineExceeded);
  const leaving = new AbortController();
  const left = failure(client.getBook({ name: "shelves/1/books/hang" }, { signal: leaving.signal }));
  setTimeout(() => leaving.abort(), 50);
  assert.equal((await left).code, Code.Canceled);

  const books = await collect(client.watchBooks({ parent: "shelves/1" }));
  assert.deepEqual(books.map((book) => book.title), ["A", "B"]);
  const broken = await failure(collect(client.watchBooks({ parent: "shelves/break" })));
  assert.equal(broken.code, Code.Aborted);
  assert.equal(broken.rawMessage, "enough");
  const first = client.watchBooks({ parent: "shelves/hang" })[Symbol.asyncIterator]();
  assert.equal((await first.next()).value.title, "A");
  await first.return?.();

  const imported = await client.importBooks(remarksAsBooks("A", "B", "C"));
  assert.equal(imported.imported, 3);
  if (httpVersion === "2") {
    const heard = await collect(client.discuss(remarks("one", "two")));
    assert.deepEqual(heard.map((remark) => remark.text), ["one", "one", "two", "two"]);
  }
  console.log(`ok - ${name}`);
}

async function* remarksAsBooks(...titles) {
  for (const title of titles) yield { title };
}

for (const [name, transport, options] of transports) {
  try {
    await check(name, transport, options);
  } catch (error) {
    console.error(`not ok - ${name}`);
    throw error;
  }
}
process.exit(0);
