// What a user of Anthropic's SDK may expect of the gateway, with the starter model behind the model "auto": the newest SDK, and
// the one that Bytebot's agent has.
import assert from "node:assert/strict";
import { test } from "node:test";
import Newest from "@anthropic-ai/sdk";
import Bytebots from "anthropic-bytebot";

// ANTHROPIC_BASE_URL has no version.
const baseURL = process.env.GATEWAY_URL.replace(/\/v1$/, "");
const model = "auto";
const max_tokens = 200;
const user = (content) => ({ role: "user", content });
const redDot = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==";
const image = { type: "image", source: { type: "base64", media_type: "image/png", data: redDot } };

const weather = {
	name: "get_weather",
	input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

for (const [name, SDK] of [["newest", Newest], ["Bytebot's", Bytebots]]) {
	const client = new SDK({ baseURL, apiKey: "not-needed", maxRetries: 0 });

	test(`${name} SDK: a message is answered`, async () => {
		const answer = await client.messages.create({
			model, max_tokens, thinking: { type: "disabled" },
			system: [{ type: "text", text: "You are a test.", cache_control: { type: "ephemeral" } }],
			messages: [user("The code word is walnut.")],
		});
		assert.equal(answer.type, "message");
		assert.deepEqual(answer.content, [{ type: "text", text: "The code word is: walnut" }]);
		assert.equal(answer.stop_reason, "end_turn");
		assert.ok(answer.usage.input_tokens + answer.usage.cache_read_input_tokens > 0);
		assert.ok(answer.usage.output_tokens > 0);
	});

	test(`${name} SDK: the events of a stream come in order`, async () => {
		const stream = client.messages.stream({ model, max_tokens, messages: [user("The code word is walnut.")] });
		const seen = [];
		let text = "";
		stream.on("text", (piece) => (text += piece));
		for await (const event of stream) {
			if (seen.at(-1) !== event.type) seen.push(event.type);
		}
		assert.deepEqual(seen, [
			"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
		]);
		const message = await stream.finalMessage();
		assert.equal(text, "The code word is: walnut");
		assert.equal(message.content[0].text, text);
		assert.ok(message.usage.output_tokens > 0);
	});

	test(`${name} SDK: a tool is called, and its result is taken with its image`, async () => {
		const messages = [user("Hello")];
		const first = await client.messages.create({ model, max_tokens, messages, tools: [weather] });
		const call = first.content.find((block) => block.type === "tool_use");
		assert.equal(first.stop_reason, "tool_use");
		assert.equal(call.name, "get_weather");
		assert.ok("city" in call.input);

		messages.push(
			{ role: "assistant", content: first.content },
			user([{ type: "tool_result", tool_use_id: call.id, content: [{ type: "text", text: "done" }, image] }]),
		);
		const second = await client.messages.create({ model, max_tokens, messages, tools: [weather] });
		assert.equal(second.content[0].text, "The tool has answered. The image is red.");
	});

	test(`${name} SDK: a streamed tool call is whole`, async () => {
		const stream = client.messages.stream({ model, max_tokens, messages: [user("Hello twice")], tools: [weather], tool_choice: { type: "any" } });
		const message = await stream.finalMessage();
		assert.equal(message.stop_reason, "tool_use");
		assert.equal(message.content.length, 2);
		for (const call of message.content) {
			assert.equal(call.name, "get_weather");
			assert.ok("city" in call.input);
		}
	});

	test(`${name} SDK: errors are the SDK's own`, async () => {
		const messages = [user("Hello")];
		await assert.rejects(client.messages.create({ model: "claude-nobody", max_tokens, messages }), (error) => {
			assert.ok(error instanceof SDK.NotFoundError);
			assert.equal(error.error.error.type, "not_found_error");
			assert.match(error.message, /there are: auto/);
			return true;
		});
		await assert.rejects(client.messages.create({ model, max_tokens, messages: "Hello" }), SDK.BadRequestError);
		await assert.rejects(
			client.messages.create({ model, max_tokens, messages, tools: [{ type: "web_search_20250305", name: "web_search" }] }),
			(error) => error instanceof SDK.BadRequestError && /web_search/.test(error.message),
		);
	});
}

const client = new Newest({ baseURL, apiKey: "not-needed", maxRetries: 0 });

test("images and documents are seen", async () => {
	const seen = await client.messages.create({ model, max_tokens, messages: [user([image, { type: "text", text: "Which colour?" }])] });
	assert.equal(seen.content[0].text, "The image is red.");
	const data = Buffer.from("The code word is maple.").toString("base64");
	const read = await client.messages.create({
		model, max_tokens, messages: [user([{ type: "document", source: { type: "base64", media_type: "text/plain", data } }])],
	});
	assert.equal(read.content[0].text, "The code word is: maple");
});

test("a file that the model cannot read is refused in plain words", async () => {
	const source = { type: "base64", media_type: "application/pdf", data: Buffer.from("%PDF-1.4").toString("base64") };
	await assert.rejects(
		client.messages.create({ model, max_tokens, messages: [user([{ type: "document", source }])] }),
		(error) => error instanceof Newest.BadRequestError && /no other parts of a message, such as files/.test(error.message),
	);
});

test("max_tokens ends a message, and stop sequences too", async () => {
	const cut = await client.messages.create({ model, max_tokens: 5, messages: [user("Count.")] });
	assert.equal(cut.content[0].text, "1, 2, 3, 4, 5, ");
	assert.equal(cut.stop_reason, "max_tokens");
	const stopped = await client.messages.create({ model, max_tokens, stop_sequences: ["4"], messages: [user("Count.")] });
	assert.equal(stopped.content[0].text, "1, 2, 3, ");
});

test("tokens are counted", async () => {
	const short = await client.messages.countTokens({ model, messages: [user("Hello")] });
	const long = await client.messages.countTokens({ model, messages: [user("Hello ".repeat(100))] });
	assert.ok(short.input_tokens > 0);
	assert.ok(long.input_tokens > short.input_tokens + 50);
});

test("leaving a stream of messages leaves the gateway in order", async () => {
	const stream = await client.messages.create({ model, max_tokens: 2000, messages: [user("Count.")], stream: true });
	for await (const event of stream) {
		if (event.type === "content_block_delta") break;
	}
	const answer = await client.messages.create({ model, max_tokens, messages: [user("Hello")] });
	assert.match(answer.content[0].text, /^Hello/);
});
