//! The names of what spans say: OpenTelemetry's semantic conventions, v1.41 for generative AI, and ours below `waggle.`.

/// What is done: see [`operation`].
pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// Who runs the model, such as `openai`; the name of the upstream where that is not known.
pub const GEN_AI_PROVIDER_NAME: &str = "gen_ai.provider.name";
/// The model that was asked for.
pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// Whether the answer is asked for as a stream.
pub const GEN_AI_REQUEST_STREAM: &str = "gen_ai.request.stream";
/// The most tokens the answer may have.
pub const GEN_AI_REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// The model that answered.
pub const GEN_AI_RESPONSE_MODEL: &str = "gen_ai.response.model";
/// Tokens of the prompt, those from a cache included.
pub const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens of the prompt that the provider had cached.
pub const GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
/// Tokens of the answer.
pub const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";

/// The tool that is called: its name and that of its function, with a dot between them.
pub const GEN_AI_TOOL_NAME: &str = "gen_ai.tool.name";
/// What names the call, the same for every attempt at it.
pub const GEN_AI_TOOL_CALL_ID: &str = "gen_ai.tool.call.id";

/// What the model was told to do, as a JSON text of parts. Content: only of a tenant that wants it, and redacted.
pub const GEN_AI_SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";
/// What the model was asked, as a JSON text of messages. Content, as above.
pub const GEN_AI_INPUT_MESSAGES: &str = "gen_ai.input.messages";
/// What it answered, as a JSON text of messages. Content, as above.
pub const GEN_AI_OUTPUT_MESSAGES: &str = "gen_ai.output.messages";

/// What holds the data: `redis`, or `fjall`, which the embedded store is made of.
pub const DB_SYSTEM_NAME: &str = "db.system.name";
/// What is done with a store, by the name it has in metrics.
pub const DB_OPERATION_NAME: &str = "db.operation.name";
/// How many keys an operation on several is for; 2 or more.
pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
/// The label of the store.
pub const DB_COLLECTION_NAME: &str = "db.collection.name";

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
/// `http` or `https`.
pub const URL_SCHEME: &str = "url.scheme";
/// The host that was called.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port that was called.
pub const SERVER_PORT: &str = "server.port";

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
/// How many messages that were asked or answered are not in the attribute of them, for want of room.
pub const WAGGLE_MESSAGES_LEFT_OUT: &str = "waggle.messages_left_out";
/// The name of the upstream.
pub const WAGGLE_UPSTREAM: &str = "waggle.upstream";

/// What happens during the span of a function.
pub mod event {
    /// The request has a place in an instance, perhaps in one that is only being made.
    pub const INSTANCE_PLACED: &str = "instance.placed";
    /// The instance is there and begins with the request.
    pub const INSTANCE_BEGAN: &str = "instance.began";
}

/// Values of [`GEN_AI_OPERATION_NAME`].
pub mod operation {
    /// A model is asked for the next message of a conversation.
    pub const CHAT: &str = "chat";
    /// A tool is called.
    pub const EXECUTE_TOOL: &str = "execute_tool";
}
