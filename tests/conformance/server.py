"""The server that the official conformance tests of servers ask for: each of its parts is what one scenario looks at.

An instance of a cluster serves it: `tests/serving/cluster/instance.py --app tests.conformance.server`. As a program, it
serves itself by the SDK's own means:

    python tests/conformance/server.py [PORT]   (over stdio; given a port, over HTTP)
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import sys
from typing import Annotated, Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    ClientCapabilities,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    MissingRequiredClientCapabilityErrorData,
    SamplingCapability,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
PAUSE_SECONDS = 0.05
REALLY_CHANGES = "CONFORMANCE_REALLY_CHANGES"
"""Set in the environment, announced changes are made, too."""

AWKWARD_TOOL = "json_schema_2020_12_tool"
AWKWARD_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""More of JSON Schema than a Python signature can say."""


class User(BaseModel):
    """Two texts that must be given."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """A default of each primitive type."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def titled(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    """Options with titles."""
    return [{"const": const, "title": title} for const, title in pairs]


OPTIONS = ["option1", "option2", "option3"]
FIRST_TO_THIRD = [("value1", "First"), ("value2", "Second"), ("value3", "Third")]


class Choices(BaseModel):
    """Each way to offer a choice."""

    untitledSingle: str = Field(json_schema_extra={"enum": OPTIONS})
    titledSingle: str = Field(json_schema_extra={"oneOf": titled(*FIRST_TO_THIRD)})
    legacyEnum: str = Field(
        json_schema_extra={"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}
    )
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": OPTIONS}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": titled(*FIRST_TO_THIRD)}})


def served(options: object) -> MCPServer[Any]:
    """The server; the options are of the instance."""

    async def as_they_are(ctx: ServerRequestContext[Any, Any], call_next: Any) -> Any:
        """Give one tool the schema that it is to have."""
        result = await call_next(ctx)
        if ctx.method == "tools/list":
            for tool in result["tools"]:
                if tool["name"] == AWKWARD_TOOL:
                    tool["inputSchema"] = AWKWARD_SCHEMA
        return result

    server = MCPServer("conformance", log_level="ERROR", middleware=[as_they_are])
    offer_contents(server)
    offer_conversations(server)
    offer_input_required(server)
    offer_resources(server)
    offer_prompts(server)
    return server


def offer_contents(server: MCPServer[Any]) -> None:
    """Tools that return something."""

    @server.tool()
    def test_simple_text() -> str:
        """Return a text."""
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> list[ImageContent]:
        """Return an image."""
        return [ImageContent(data=PNG, mime_type="image/png")]

    @server.tool()
    def test_audio_content() -> list[AudioContent]:
        """Return a sound."""
        return [AudioContent(data=WAV, mime_type="audio/wav")]

    @server.tool()
    def test_embedded_resource() -> list[EmbeddedResource]:
        """Return a resource."""
        text = "This is an embedded resource content."
        return [embedded("test://embedded-resource", "text/plain", text)]

    @server.tool()
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Return one of each."""
        return [
            TextContent(text="Multiple content types test:"),
            ImageContent(data=PNG, mime_type="image/png"),
            embedded("test://mixed-content-resource", "application/json", json.dumps({"test": "data", "value": 123})),
        ]

    @server.tool()
    def test_error_handling() -> CallToolResult:
        """Fail."""
        text = "This tool intentionally returns an error for testing"
        return CallToolResult(content=[TextContent(text=text)], is_error=True)

    @server.tool(name=AWKWARD_TOOL)
    def awkward(name: str = "") -> str:
        """Have a schema that uses much of JSON Schema."""
        return name

    @server.tool()
    def test_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "") -> str:
        """Take an argument that is also a header of the HTTP request."""
        return region


def embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    """A resource as content."""
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def offer_conversations(server: MCPServer[Any]) -> None:
    """Tools that send something on the way, or ask the client."""

    @server.tool()
    async def test_tool_with_logging(ctx: Context[Any, Any]) -> str:
        """Log three times."""
        for number, text in enumerate(("execution started", "processing data", "execution completed")):
            await anyio.sleep(PAUSE_SECONDS if number else 0)
            await ctx.session.send_log_message("info", f"Tool {text}", related_request_id=ctx.request_id)
        return "Logged."

    @server.tool()
    async def test_logging_tool(ctx: Context[Any, Any]) -> str:
        """Log once."""
        await ctx.session.send_log_message("info", "Logged", related_request_id=ctx.request_id)
        return "Logged."

    @server.tool()
    async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
        """Report progress three times."""
        for progress in (0, 50, 100):
            await anyio.sleep(PAUSE_SECONDS if progress else 0)
            await ctx.report_progress(progress, 100)
        return "Done."

    @server.tool()
    async def test_reconnection(ctx: Context[Any, Any]) -> str:
        """Let the client come back for the answer."""
        await ctx.close_sse_stream()
        await anyio.sleep(2 * PAUSE_SECONDS)
        return "Reconnected."

    @server.tool()
    async def test_sampling(ctx: Context[Any, Any], prompt: str) -> str:
        """Ask the client's model."""
        message = SamplingMessage(role="user", content=TextContent(text=prompt))
        answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
        return f"LLM response: {answer.content.text if isinstance(answer.content, TextContent) else answer.content}"

    async def elicited(ctx: Context[Any, Any], message: str, schema: type[BaseModel]) -> str:
        answer = await ctx.elicit(message, schema)
        content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
        return f"action={answer.action}, content={content}"

    @server.tool()
    async def test_elicitation(ctx: Context[Any, Any], message: str) -> str:
        """Ask the user."""
        return f"User response: {await elicited(ctx, message, User)}"

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> str:
        """Ask the user, with defaults."""
        return f"Elicitation completed: {await elicited(ctx, 'Please say who you are.', Defaults)}"

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> str:
        """Ask the user, with choices."""
        return f"Elicitation completed: {await elicited(ctx, 'Please choose.', Choices)}"

    numbers = itertools.count(1)
    really_changes = os.environ.get(REALLY_CHANGES)

    @server.tool()
    async def test_trigger_tool_change(ctx: Context[Any, Any]) -> str:
        """Say that the tools changed."""
        if really_changes:
            server.add_tool(lambda: "more", name=f"one_more_{next(numbers)}", description="Say more.")
        await ctx.notify_tools_changed()
        return "Changed."

    @server.tool()
    async def test_trigger_prompt_change(ctx: Context[Any, Any]) -> str:
        """Say that the prompts changed."""
        if really_changes:
            more = Prompt.from_function(lambda: "more", name=f"one_more_{next(numbers)}", description="More.")
            server.add_prompt(more)
        await ctx.notify_prompts_changed()
        return "Changed."


def question(message: str, **properties: str) -> ElicitRequest:
    """A question to the user, by the types of what is to be answered."""
    schema = {
        "type": "object",
        "properties": {name: {"type": type_} for name, type_ in properties.items()},
        "required": list(properties),
    }
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str, max_tokens: int) -> CreateMessageRequest:
    """A question to the client's model."""
    message = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def answered(ctx: Context[Any, Any], key: str, name: str) -> str | None:
    """What the user answered."""
    answer = (ctx.input_responses or {}).get(key)
    if not isinstance(answer, ElicitResult) or answer.action != "accept":
        return None
    value = (answer.content or {}).get(name)
    return None if value is None else str(value)


def sampled(ctx: Context[Any, Any], key: str) -> str | None:
    """What the client's model answered."""
    answer = (ctx.input_responses or {}).get(key)
    return answer.content.text if isinstance(answer, CreateMessageResult) and hasattr(answer.content, "text") else None


def roots(ctx: Context[Any, Any], key: str) -> str | None:
    """The client's roots."""
    answer = (ctx.input_responses or {}).get(key)
    return ", ".join(str(root.uri) for root in answer.roots) if isinstance(answer, ListRootsResult) else None


def required(state: str | None = None, **requests: InputRequest) -> InputRequiredResult:
    """What a tool or a prompt needs before it can go on."""
    return InputRequiredResult(input_requests=requests, request_state=state)


def offer_input_required(server: MCPServer[Any]) -> None:
    """Tools that end with a question, as servers ask since 2026-07-28."""

    @server.tool()
    async def test_input_required_result_elicitation(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Ask for a name."""
        name = answered(ctx, "user_name", "name")
        return f"Hello, {name}!" if name else required(user_name=question("What is your name?", name="string"))

    @server.tool()
    async def test_streaming_elicitation(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Tell of progress, then ask."""
        await ctx.report_progress(1, 2)
        ok = answered(ctx, "confirm", "ok")
        return "Confirmed." if ok else required(confirm=question("Please confirm", ok="boolean"))

    @server.tool()
    async def test_input_required_result_sampling(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Ask the client's model."""
        text = sampled(ctx, "capital_question")
        return text or required(capital_question=sampling("What is the capital of France?", 100))

    @server.tool()
    async def test_input_required_result_list_roots(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Ask for the client's roots."""
        found = roots(ctx, "client_roots")
        return f"Roots: {found}" if found is not None else required(client_roots=ListRootsRequest())

    async def confirmed(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        if answered(ctx, "confirm", "ok") is None:
            return required("confirming", confirm=question("Please confirm", ok="boolean"))
        return "state-ok" if ctx.request_state == "confirming" else f"state was {ctx.request_state!r}"

    @server.tool()
    async def test_input_required_result_request_state(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Ask, with a state that comes back."""
        return await confirmed(ctx)

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """The same; the SDK refuses a state that somebody changed."""
        return await confirmed(ctx)

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Ask for three things at once."""
        given = answered(ctx, "user_name", "name"), sampled(ctx, "greeting"), roots(ctx, "client_roots")
        if None not in given:
            return f"{given[1]} {given[0]}: {given[2]}"
        return required(
            "asking",
            user_name=question("What is your name?", name="string"),
            greeting=sampling("Generate a greeting", 50),
            client_roots=ListRootsRequest(),
        )

    @server.tool()
    async def test_input_required_result_multi_round(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Ask twice, one after the other."""
        if ctx.request_state is None:
            return required("{}", step1=question("Step 1: What is your name?", name="string"))
        known: dict[str, str] = json.loads(ctx.request_state)
        if (name := answered(ctx, "step1", "name")) is not None:
            return required(
                json.dumps({"name": name}), step2=question("Step 2: What is your favorite color?", color="string")
            )
        return f"{known.get('name')} likes {answered(ctx, 'step2', 'color')}."

    @server.tool()
    async def test_input_required_result_capabilities(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Ask only what the client can answer."""
        able = ctx.client_capabilities or ClientCapabilities()
        if ctx.input_responses:
            return "Answered."
        asked: dict[str, InputRequest] = {}
        if able.sampling is not None:
            asked["sampled"] = sampling("Say something.", 50)
        if able.elicitation is not None:
            asked["asked"] = question("What is your name?", name="string")
        return required("asking", **asked)

    @server.tool()
    async def test_missing_capability(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Need a client with a model."""
        able = ctx.client_capabilities
        if able is None or able.sampling is None:
            needed = MissingRequiredClientCapabilityErrorData(
                required_capabilities=ClientCapabilities(sampling=SamplingCapability())
            )
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY,
                "This tool needs the client's capability `sampling`.",
                needed.model_dump(by_alias=True, exclude_none=True, mode="json"),
            )
        return "The client has it."


def offer_resources(server: MCPServer[Any]) -> None:
    """Resources, and a client's subscriptions to them."""

    @server.resource("test://static-text", mime_type="text/plain")
    def text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def image() -> bytes:
        """An image."""
        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def data(id: str) -> str:  # noqa: A002 - the template's word
        """Data by its number."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """Something to subscribe to."""
        return "Watched resource content"

    async def done(ctx: object, params: object) -> EmptyResult:
        return EmptyResult()

    # An `MCPServer` has no public way to these.
    low_level = server._lowlevel_server
    low_level.add_request_handler("logging/setLevel", SetLevelRequestParams, done)
    low_level.add_request_handler("resources/subscribe", SubscribeRequestParams, done)
    low_level.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, done)

    @server.completion()
    async def complete(ref: object, argument: object, context: object) -> Completion:
        return Completion(values=[], total=0, has_more=False)


def offer_prompts(server: MCPServer[Any]) -> None:
    """Prompts."""

    @server.prompt()
    def test_simple_prompt() -> str:
        """A text."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(
        arg1: Annotated[str, Field(description="First test argument")],
        arg2: Annotated[str, Field(description="Second test argument")],
    ) -> str:
        """A text with two arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(
        resourceUri: Annotated[str, Field(description="URI of the resource to embed")],
    ) -> list[UserMessage]:
        """A resource and a text."""
        resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """An image and a text."""
        return [
            UserMessage(ImageContent(data=PNG, mime_type="image/png")),
            UserMessage("Please analyze the image above."),
        ]

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """A text that needs the user."""
        context = answered(ctx, "user_context", "context")
        asked = question("What context should the prompt use?", context="string")
        return f"Use {context}." if context else required(user_context=asked)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        served(None).run("streamable-http", port=int(sys.argv[1]))
    else:
        served(None).run("stdio")
