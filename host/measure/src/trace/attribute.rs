//! The names of what spans say: OpenTelemetry's semantic conventions, v1.41 for generative AI, and ours below `waggle.`.

/// `chat`, `invoke_agent`, `execute_tool`, `embeddings`: see [`operation`].
pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// Who runs the model, such as `openai`; the name of the upstream where that is not known.
pub const GEN_AI_PROVIDER_NAME: &str = "gen_ai.provider.name";
/// The model that was asked for.
pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// Whether the answer is asked for as a stream.
pub const GEN_AI_REQUEST_STREAM: &str = "gen_ai.request.stream";
/// The most tokens the answer may have.
pub const GEN_AI_REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// The temperature that was asked for.
pub const GEN_AI_REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
/// The nucleus that was asked for.
pub const GEN_AI_REQUEST_TOP_P: &str = "gen_ai.request.top_p";
/// The model that answered.
pub const GEN_AI_RESPONSE_MODEL: &str = "gen_ai.response.model";
/// The id of the answer.
pub const GEN_AI_RESPONSE_ID: &str = "gen_ai.response.id";
/// Why the answer ended, for each choice; texts.
pub const GEN_AI_RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// From the request to the first piece of a stream, seconds.
pub const GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
/// Tokens of the prompt, those from a cache included.
pub const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens of the prompt that the provider had cached.
pub const GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
/// Tokens of the answer.
pub const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Tokens of the answer that were spent on reasoning.
pub const GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
/// The id of the conversation.
pub const GEN_AI_CONVERSATION_ID: &str = "gen_ai.conversation.id";
/// The name of the agent that is invoked.
pub const GEN_AI_AGENT_NAME: &str = "gen_ai.agent.name";
/// The name of the tool that is executed.
pub const GEN_AI_TOOL_NAME: &str = "gen_ai.tool.name";
/// The id of the tool's call.
pub const GEN_AI_TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
/// The kind of tool: `function`, `extension` or `datastore`.
pub const GEN_AI_TOOL_TYPE: &str = "gen_ai.tool.type";

/// What went wrong, as a word of few: a status, or the kind of error.
pub const ERROR_TYPE: &str = "error.type";
/// `GET`, `POST` and so on.
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
/// The status of the answer.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// The route that matched, as it is written in the manifest; not the path.
pub const HTTP_ROUTE: &str = "http.route";
/// How often a request was sent again before this one.
pub const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
/// `1.1` or `2`.
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
/// `http` or `https`.
pub const URL_SCHEME: &str = "url.scheme";
/// The host that was called.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port that was called.
pub const SERVER_PORT: &str = "server.port";
/// The kind of store.
pub const DB_SYSTEM_NAME: &str = "db.system.name";
/// What a store was asked to do.
pub const DB_OPERATION_NAME: &str = "db.operation.name";
/// How many keys it was asked to do that with.
pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";

/// Whose request it is.
pub const WAGGLE_TENANT: &str = "waggle.tenant";
/// Which function runs.
pub const WAGGLE_FUNCTION: &str = "waggle.function";
/// The number of the instance in this process.
pub const WAGGLE_INSTANCE: &str = "waggle.instance";
/// Whether the instance was there already.
pub const WAGGLE_INSTANCE_REUSED: &str = "waggle.instance.reused";
/// The id of the request, as in the log.
pub const WAGGLE_REQUEST: &str = "waggle.request";
/// The name of the upstream.
pub const WAGGLE_UPSTREAM: &str = "waggle.upstream";
/// The label of the store.
pub const WAGGLE_STORE: &str = "waggle.store";

/// Values of [`GEN_AI_OPERATION_NAME`].
pub mod operation {
    /// A model is asked for the next message of a conversation.
    pub const CHAT: &str = "chat";
    /// An agent is given a task.
    pub const INVOKE_AGENT: &str = "invoke_agent";
    /// A tool is executed.
    pub const EXECUTE_TOOL: &str = "execute_tool";
    /// Texts become vectors.
    pub const EMBEDDINGS: &str = "embeddings";
}
