// What a user of OpenAI's SDK may expect of the gateway, with the starter model behind the model "auto".
// GATEWAY_URL is the gateway's base URL, such as http://localhost:7000/v1.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.GATEWAY_URL, apiKey: "not-needed", maxRetries: 0 });
const model = "auto";
const user = (content) => ({ role: "user", content });

const weather = {
	type: "function",
	function: {
		name: "get_weather",
		parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
	},
};

test("a chat is answered, and the answer says by whom", async () => {
	const { data, response } = await client.chat.completions.create({ model, messages: [user("Hello")] }).withResponse();
	assert.match(data.choices[0].message.content, /^Hello! I am the starter model/);
	assert.equal(data.choices[0].finish_reason, "stop");
	assert.equal(data.model, "starter");
	assert.ok(data.usage.total_tokens > 0);
	assert.equal(response.headers.get("x-llm-provider"), "local");
	assert.equal(response.headers.get("x-llm-model"), "starter");
	assert.equal(response.headers.get("x-llm-attempts"), "1");
});

test("a stream brings the same answer in pieces", async () => {
	const messages = [user("The code word is walnut.")];
	const stream = await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
	let text = "";
	let pieces = 0;
	let usage;
	for await (const chunk of stream) {
		const delta = chunk.choices[0]?.delta.content;
		if (delta) {
			text += delta;
			pieces++;
		}
		usage = chunk.usage ?? usage;
	}
	assert.equal(text, "The code word is: walnut");
	assert.ok(pieces > 1, `${pieces} piece`);
	assert.ok(usage.completion_tokens > 0);
});

test("many conversations at once are not mixed up", async () => {
	const words = ["acorn", "bison", "cedar", "falcon", "ginger", "heron", "ivory", "kettle"];
	const answers = await Promise.all(
		words.map((word) => client.chat.completions.create({ model, messages: [user(`The code word is ${word}.`)] })),
	);
	assert.deepEqual(
		answers.map((answer) => answer.choices[0].message.content),
		words.map((word) => `The code word is: ${word}`),
	);
});

test("max_tokens ends an answer", async () => {
	const answer = await client.chat.completions.create({ model, messages: [user("Count.")], max_tokens: 5 });
	assert.equal(answer.choices[0].message.content, "1, 2, 3, 4, 5, ");
	assert.equal(answer.choices[0].finish_reason, "length");
});

test("leaving a stream leaves the gateway in order", async () => {
	const stream = await client.chat.completions.create({ model, messages: [user("Count.")], max_tokens: 2000, stream: true });
	for await (const chunk of stream) {
		if (chunk.choices[0]?.delta.content) break;
	}
	const answer = await client.chat.completions.create({ model, messages: [user("Hello")] });
	assert.match(answer.choices[0].message.content, /^Hello/);
});

test("a tool is called, and its result is taken", async () => {
	const messages = [user("Hello")];
	const first = await client.chat.completions.create({ model, messages, tools: [weather] });
	const [call] = first.choices[0].message.tool_calls;
	assert.equal(first.choices[0].finish_reason, "tool_calls");
	assert.equal(call.type, "function");
	assert.equal(call.function.name, "get_weather");
	assert.ok("city" in JSON.parse(call.function.arguments));

	messages.push(first.choices[0].message, { role: "tool", tool_call_id: call.id, content: "It is sunny." });
	const second = await client.chat.completions.create({ model, messages, tools: [weather] });
	assert.equal(second.choices[0].message.content, "The tool has answered.");
});

test("a streamed tool call is whole", async () => {
	const stream = client.chat.completions.stream({ model, messages: [user("Hello")], tools: [weather] });
	const { message } = (await stream.finalChatCompletion()).choices[0];
	assert.equal(message.tool_calls[0].function.name, "get_weather");
	assert.ok("city" in JSON.parse(message.tool_calls[0].function.arguments));
});

test("models are listed and looked up", async () => {
	const names = [];
	for await (const m of client.models.list()) names.push(m.id);
	assert.deepEqual(names, ["auto"]);
	assert.equal((await client.models.retrieve("auto")).object, "model");
	await assert.rejects(client.models.retrieve("nobody"), OpenAI.NotFoundError);
});

test("completions and embeddings are answered", async () => {
	const completion = await client.completions.create({ model, prompt: "The word is maple. The code word is: ", max_tokens: 8 });
	assert.match(completion.choices[0].text, /maple/);
	const { data } = await client.embeddings.create({ model, input: ["one", "two"], encoding_format: "float" });
	assert.equal(data.length, 2);
	assert.ok(data[0].embedding.length > 0);
});

test("a client names the provider in each of three ways", async () => {
	const messages = [user("Hello")];
	const ways = [
		client.chat.completions.create({ model: "local/auto", messages }),
		client.chat.completions.create({ model, messages, provider: "local" }),
		client.chat.completions.create({ model, messages }, { headers: { "X-LLM-Provider": "local" } }),
	];
	for (const way of ways) {
		const { response } = await way.withResponse();
		assert.equal(response.headers.get("x-llm-provider"), "local");
	}
});

test("errors are the SDK's own", async () => {
	const messages = [user("Hello")];
	await assert.rejects(client.chat.completions.create({ model: "gpt-nobody", messages }), (error) => {
		assert.ok(error instanceof OpenAI.NotFoundError);
		assert.equal(error.code, "model_not_found");
		assert.match(error.message, /there are: auto/);
		return true;
	});
	await assert.rejects(client.chat.completions.create({ model, messages: "Hello" }), OpenAI.BadRequestError);
	await assert.rejects(client.chat.completions.create({ model, messages, provider: "nobody" }), OpenAI.BadRequestError);
	await assert.rejects(client.chat.completions.create({ model, messages, provider: "hf" }), (error) => error.status === 503);
});
