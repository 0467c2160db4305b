// A stand-in for a model, to try the bridge without an account: it asks for `rm -rf build` once and then says what it
// got. `node examples/model.mjs PORT`
import { createServer } from "node:http";

const port = Number(process.argv[2] ?? 4242);

createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  if (request.method === "GET") return void response.end(JSON.stringify({ object: "list", data: [{ id: "fake", object: "model" }] }));
  const { messages } = JSON.parse(body);
  const result = messages.filter(({ role }) => role === "tool").at(-1);
  const call = { index: 0, id: `call_${Date.now()}`, type: "function", function: { name: "exec", arguments: '{"command":"rm -rf build"}' } };
  const text = (content) => (typeof content === "string" ? content : content.map((part) => part.text ?? "").join(""));
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (choice) => response.write(`data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", created: 1, model: "fake", choices: [{ index: 0, ...choice }] })}\n\n`);
  send({ delta: { role: "assistant", ...(result ? { content: `The tool said: ${text(result.content)}` } : { tool_calls: [call] }) }, finish_reason: null });
  send({ delta: {}, finish_reason: result ? "stop" : "tool_calls" });
  response.end("data: [DONE]\n\n");
}).listen(port, "127.0.0.1");
