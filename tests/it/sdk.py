"""Anthropic's own SDK against the simulated Claude: what it accepts, the fleet may rely on."""

import sys

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
