// The oracle of validation: what protovalidate itself says of messages.
//   node protovalidate.mjs DESCRIPTOR_SET < "TYPE HEX" lines > one JSON line each: [[path, rule, for key], …] or an error

import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(process.argv[2])));
const validator = createValidator({ registry });

/** A field's path with JSON's names. */
function path(steps) {
  let text = "";
  for (const step of steps) {
    if (step.kind === "list_sub") text += `[${step.index}]`;
    else if (step.kind === "map_sub") text += `[${typeof step.key === "string" ? JSON.stringify(step.key) : step.key}]`;
    else text += (text && ".") + (step.kind === "oneof" ? step.name : step.jsonName);
  }
  return text;
}

function ask(line) {
  const [type, hex = ""] = line.split(" ");
  const schema = registry.getMessage(type);
  let message;
  try {
    message = fromBinary(schema, Buffer.from(hex, "hex"));
  } catch (error) {
    return { unreadable: String(error) };
  }
  const said = validator.validate(schema, message);
  if (said.kind === "error") return { error: String(said.error) };
  return (said.violations ?? []).map(({ field, ruleId, forKey }) => [path(field), ruleId, forKey]);
}

const lines = readFileSync(0, "utf8").split("\n").filter(Boolean);
process.stdout.write(lines.map((line) => JSON.stringify(ask(line)) + "\n").join(""));
