"""Anthropic's own SDK against the simulated Claude: what it accepts, the fleet may rely on."""

import sys
import time

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="any", max_retries=0)
tool = {
    "name": "disk_free",
    "description": "Shows how full a disk is.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
ask = {"model": "claude-haiku-4-5", "max_tokens": 300, "tools": [tool]}

# A tool use, answered by a tool_result, ended by a text.
turns = [{"role": "user", "content": "Is the disk full?"}]
first = client.messages.create(**ask, tool_choice={"type": "any"}, messages=turns)
assert first.stop_reason == "tool_use", first
use = next(block for block in first.content if block.type == "tool_use")
assert use.name == "disk_free" and isinstance(use.input["path"], str), use
assert first.usage.input_tokens > 0 and first.usage.output_tokens > 0, first.usage
assert first.usage.cache_read_input_tokens == 0, first.usage
turns += [
    {"role": "assistant", "content": first.content},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "97%"}]},
]
second = client.messages.create(**ask, tool_choice={"type": "none"}, messages=turns)
assert second.stop_reason == "end_turn" and second.content[0].text, second
assert second._request_id, "no request id"

# The same as a stream.
with client.messages.stream(**ask, tool_choice={"type": "none"}, messages=turns) as stream:
    text = "".join(stream.text_stream)
    assert text == second.content[0].text, text
    assert stream.get_final_message().usage.output_tokens > 0

# Thinking goes back as it came, and nothing else does.
thoughtful = {**ask, "thinking": {"type": "adaptive"}}
with client.messages.stream(**thoughtful, messages=turns[:1]) as stream:
    thought = stream.get_final_message()
assert [block.type for block in thought.content] == ["thinking", "text"], thought
again = [turns[0], {"role": "assistant", "content": thought.content}, {"role": "user", "content": "Look again."}]
client.messages.create(**thoughtful, messages=again)
thought.content[0].thinking += "!"
try:
    client.messages.create(**thoughtful, messages=again)
except anthropic.BadRequestError as error:
    assert "signature" in str(error), error
else:
    raise AssertionError("altered thinking was accepted")

# Counting, and the models.
counted = client.messages.count_tokens(model=ask["model"], tools=[tool], messages=turns[:1])
assert counted.input_tokens == first.usage.input_tokens, (counted, first.usage)
models = [model.id for model in client.models.list()]
assert ask["model"] in models and client.models.retrieve(ask["model"]).id == ask["model"], models

# A batch, from its creation to its end.
requests = [{"custom_id": f"run-{n}", "params": {**ask, "messages": turns[:1]}} for n in range(3)]
batch = client.messages.batches.create(requests=requests)
for _ in range(1000):
    if client.messages.batches.retrieve(batch.id).processing_status == "ended":
        break
    time.sleep(0.01)
results = {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}
assert {result.type for result in results.values()} == {"succeeded"} and len(results) == 3, results
assert results["run-1"].message.usage.service_tier == "batch", results
assert [batch.id] == [listed.id for listed in client.messages.batches.list(limit=1)], "not listed"
assert client.messages.batches.cancel(batch.id).request_counts.succeeded == 3
assert client.messages.batches.delete(batch.id).type == "message_batch_deleted"

# Errors are the SDK's own types.
for wrong, kind in [
    ({"model": "claude-of-tomorrow"}, anthropic.NotFoundError),
    ({"messages": turns[:2]}, anthropic.BadRequestError),
    ({"tool_choice": {"type": "tool", "name": "nope"}}, anthropic.BadRequestError),
]:
    try:
        client.messages.create(**{**ask, "messages": turns, **wrong})
    except kind as error:
        assert error.body["type"] == "error", error.body
    else:
        raise AssertionError(f"{wrong} was accepted")

print("the SDK is content")
