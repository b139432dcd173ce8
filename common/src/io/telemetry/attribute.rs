//! The names of everything that spans tell, and no more than that: no prompt, reply, event, parameter or output has a name here.
//! `gen_ai.*`, `messaging.*`, `http.*` and `error.type` are OpenTelemetry's semantic conventions; those of generative AI may still
//! change, and change here then.

/// What is done with Claude or for an agent: [`operation`].
pub const GEN_AI_OPERATION: &str = "gen_ai.operation.name";
/// Who offers the model: [`PROVIDER`].
pub const GEN_AI_PROVIDER: &str = "gen_ai.provider.name";
/// The model that was asked.
pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// Most tokens of the answer.
pub const GEN_AI_REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// The model that answered.
pub const GEN_AI_RESPONSE_MODEL: &str = "gen_ai.response.model";
/// The message's id.
pub const GEN_AI_RESPONSE_ID: &str = "gen_ai.response.id";
/// Why the model stopped, in a list of one.
pub const GEN_AI_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Input tokens, those read from and written to the cache among them.
pub const GEN_AI_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Output tokens.
pub const GEN_AI_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Of the input tokens, those read from the cache.
pub const GEN_AI_CACHE_READ_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
/// Of the input tokens, those written to the cache.
pub const GEN_AI_CACHE_WRITE_TOKENS: &str = "gen_ai.usage.cache_creation.input_tokens";
/// The run.
pub const GEN_AI_CONVERSATION: &str = "gen_ai.conversation.id";
/// The workflow.
pub const GEN_AI_WORKFLOW: &str = "gen_ai.workflow.name";
/// The tool.
pub const GEN_AI_TOOL: &str = "gen_ai.tool.name";
/// Which call of the tool: its idempotency key, the same at every attempt.
pub const GEN_AI_TOOL_CALL: &str = "gen_ai.tool.call.id";
/// What went wrong, as a class.
pub const ERROR_TYPE: &str = "error.type";

/// `POST`, ….
pub const HTTP_METHOD: &str = "http.request.method";
/// The route's template.
pub const HTTP_ROUTE: &str = "http.route";
/// What was answered.
pub const HTTP_STATUS: &str = "http.response.status_code";

/// [`NATS`].
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// The stream.
pub const MESSAGING_DESTINATION: &str = "messaging.destination.name";
/// `send` or `process`.
pub const MESSAGING_OPERATION: &str = "messaging.operation.type";
/// The durable consumer.
pub const MESSAGING_CONSUMER: &str = "messaging.consumer.group.name";
/// The message's sequence in its stream.
pub const MESSAGING_ID: &str = "messaging.message.id";
/// How often the message was handed out, this time included.
pub const DELIVERY: &str = "messaging.message.delivery_attempt";

/// The run's workflow version.
pub const VERSION: &str = "flotilla.workflow.version";
/// The step's key, and the branch where there are several.
pub const STEP: &str = "flotilla.step";
/// What was decided: act, answer, approval, ….
pub const DECISION: &str = "flotilla.decision";
/// The kind of the entry that was handled.
pub const ENTRY: &str = "flotilla.entry.kind";
/// How a run ended.
pub const OUTCOME: &str = "flotilla.outcome";
/// What Claude cost, in dollars.
pub const COST: &str = "flotilla.cost_usd";
/// What the run waited for: approval, signal, timer, parked.
pub const WAIT_KIND: &str = "flotilla.wait.kind";
/// How long, in seconds.
pub const WAIT_SECONDS: &str = "flotilla.wait.seconds";
/// What a linked span is to this one: sender, publisher, wait, parent, child, run.
pub const LINK: &str = "flotilla.link";
/// How a tool is called: http, command, nats, mcp, builtin.
pub const ADAPTER: &str = "flotilla.tool.adapter";
/// The tool's version.
pub const TOOL_VERSION: &str = "flotilla.tool.version";
/// Which attempt of an action, or which try of a question, from 1.
pub const ATTEMPT: &str = "flotilla.attempt";
/// The fence of the claim under which it was done.
pub const CLAIM: &str = "flotilla.claim.token";

/// Values of [`GEN_AI_OPERATION`].
pub mod operation {
    /// A run.
    pub const RUN: &str = "invoke_workflow";
    /// A planner's work on an entry.
    pub const PLAN: &str = "plan";
    /// A call of Claude.
    pub const CHAT: &str = "chat";
    /// An action.
    pub const TOOL: &str = "execute_tool";
}

/// Value of [`GEN_AI_PROVIDER`].
pub const PROVIDER: &str = "anthropic";
/// Value of [`MESSAGING_SYSTEM`].
pub const NATS: &str = "nats";
