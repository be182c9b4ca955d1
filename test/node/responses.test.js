// What a user of OpenAI's Responses API may expect of the gateway, with the starter model behind the model "auto": the newest SDK,
// and the one that Bytebot's agent has.
import assert from "node:assert/strict";
import { test } from "node:test";
import Bytebots from "openai";
import Newest from "openai-newest";

const baseURL = process.env.GATEWAY_URL;
const model = "auto";
const redDot =
	"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==";
const weather = {
	type: "function", name: "get_weather", strict: null,
	parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

for (const [name, SDK] of [["newest", Newest], ["Bytebot's", Bytebots]]) {
	const client = new SDK({ baseURL, apiKey: "not-needed", maxRetries: 0 });

	test(`${name} SDK: a response is made`, async () => {
		const answer = await client.responses.create({
			model, instructions: "You are a test.", input: "The code word is walnut.", max_output_tokens: 100, store: false, reasoning: null,
		});
		assert.equal(answer.object, "response");
		assert.equal(answer.status, "completed");
		assert.equal(answer.output_text, "The code word is: walnut");
		assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
		assert.ok(answer.usage.output_tokens > 0);
	});

	test(`${name} SDK: the events of a response come in order, and are numbered`, async () => {
		const stream = client.responses.stream({ model, input: "The code word is walnut." });
		const seen = [];
		let next = 0;
		let text = "";
		for await (const event of stream) {
			assert.equal(event.sequence_number, next++);
			if (seen.at(-1) !== event.type) seen.push(event.type);
			if (event.type === "response.output_text.delta") text += event.delta;
		}
		assert.deepEqual(seen, [
			"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
			"response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done",
			"response.completed",
		]);
		const answer = await stream.finalResponse();
		assert.equal(text, "The code word is: walnut");
		assert.equal(answer.output[0].content[0].text, text);
		assert.ok(answer.usage.output_tokens > 0);
	});

	test(`${name} SDK: a function is called, and its output is taken`, async () => {
		const input = [{ role: "user", content: "Hello" }];
		const first = await client.responses.create({ model, input, tools: [weather] });
		const call = first.output.find((item) => item.type === "function_call");
		assert.equal(call.name, "get_weather");
		assert.ok("city" in JSON.parse(call.arguments));

		// Bytebot sends two outputs for one call, and the image beside them.
		input.push(
			...first.output,
			{ type: "function_call_output", call_id: call.call_id, output: "Tool executed successfully" },
			{ type: "function_call_output", call_id: call.call_id, output: "screenshot" },
			{ type: "message", role: "user", content: [{ type: "input_image", image_url: redDot, detail: "high" }] },
		);
		const second = await client.responses.create({ model, input, tools: [weather] });
		assert.equal(second.output_text, "The tool has answered. The image is red.");
	});

	test(`${name} SDK: a streamed call is whole`, async () => {
		const stream = client.responses.stream({ model, input: "Hello twice", tools: [weather], tool_choice: "required" });
		const answer = await stream.finalResponse();
		assert.equal(answer.output.length, 2);
		for (const call of answer.output) {
			assert.equal(call.name, "get_weather");
			assert.ok("city" in JSON.parse(call.arguments));
		}
	});

	test(`${name} SDK: a refused response is the SDK's own error`, async () => {
		await assert.rejects(client.responses.create({ model: "gpt-nobody", input: "Hello" }), SDK.NotFoundError);
		await assert.rejects(client.responses.create({ model, input: "Hello", previous_response_id: "resp_1" }), (error) => {
			assert.ok(error instanceof SDK.BadRequestError);
			assert.equal(error.param, "previous_response_id");
			return true;
		});
	});
}

const client = new Newest({ baseURL, apiKey: "not-needed", maxRetries: 0 });

test("max_output_tokens leaves a response incomplete", async () => {
	const answer = await client.responses.create({ model, input: "Count.", max_output_tokens: 5 });
	assert.equal(answer.output_text, "1, 2, 3, 4, 5, ");
	assert.equal(answer.status, "incomplete");
	assert.equal(answer.incomplete_details.reason, "max_output_tokens");
});

test("a custom tool gets its text", async () => {
	const input = [{ role: "user", content: "Hello" }];
	const tools = [{ type: "custom", name: "apply_patch", description: "Applies a patch." }];
	const first = await client.responses.create({ model, input, tools });
	const call = first.output.find((item) => item.type === "custom_tool_call");
	assert.equal(call.name, "apply_patch");
	assert.equal(typeof call.input, "string");
	input.push(call, { type: "custom_tool_call_output", call_id: call.call_id, output: "done" });
	const second = await client.responses.create({ model, input, tools });
	assert.equal(second.output_text, "The tool has answered.");
});

test("an answer follows a schema", async () => {
	const answer = await client.responses.create({
		model, input: "Hello",
		text: {
			format: {
				type: "json_schema", name: "word", strict: true,
				schema: { type: "object", properties: { word: { type: "string", enum: ["maple"] } }, required: ["word"], additionalProperties: false },
			},
		},
	});
	assert.deepEqual(JSON.parse(answer.output_text), { word: "maple" });
});
