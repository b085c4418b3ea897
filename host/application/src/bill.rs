//! What one call to a model has used: counted in the tenant's meter, its budgets, the metrics and the call's span.

use crate::content::{self, Listener};
use crate::models::Models;
use bytes::Bytes;
use http::{Request, StatusCode};
use std::sync::Arc;
use waggle_egress::upstream::{Answered, PromptsSpent, model_body};
use waggle_egress::usage::Usage;
use waggle_engine::carry_trace;
use waggle_measure::TenantSeat;
use waggle_measure::trace::attribute::{self, operation};
use waggle_measure::trace::{Parent, Span, SpanKind};
use waggle_tenancy::{Meter, Reservation};

/// Begins the span of a call, and puts it on the request. GenAI conventions of OpenTelemetry. What is asked is in it where
/// `with_content`.
pub(crate) fn chat_span(parent: &Parent, request: &mut Request<Bytes>, with_content: bool) -> Span {
    let mut span = parent.child(operation::CHAT, SpanKind::Client);
    if span.is_recorded() {
        span.set(attribute::GEN_AI_OPERATION_NAME, operation::CHAT);
        span.set(attribute::GEN_AI_PROVIDER_NAME, "openai");
        if let Ok(call) = model_body::read(request.body()) {
            span.rename(format!("{} {}", operation::CHAT, call.model));
            span.set_text(attribute::GEN_AI_REQUEST_MODEL, &call.model);
            span.set(attribute::GEN_AI_REQUEST_STREAM, call.stream);
            if let Some(tokens) = call.tokens_max {
                span.set(attribute::GEN_AI_REQUEST_MAX_TOKENS, tokens);
            }
        }
        if with_content {
            tell_asked(&mut span, request.body());
        }
    }
    if let Some(context) = span.context() {
        carry_trace(request.headers_mut(), context);
    }
    span
}

fn tell_asked(span: &mut Span, body: &[u8]) {
    let asked = content::asked(body);
    if let Some(system) = asked.system {
        span.set_content(attribute::GEN_AI_SYSTEM_INSTRUCTIONS, system);
    }
    if let Some(messages) = asked.messages {
        span.set_content(attribute::GEN_AI_INPUT_MESSAGES, messages);
    }
    if asked.left_out > 0 {
        span.set(attribute::WAGGLE_MESSAGES_LEFT_OUT, asked.left_out as u64);
    }
}

/// What a call has used, for the meter and the budget. They are told when it is dropped, however the call has ended: with its
/// answer, with none, or given up.
pub(crate) struct Bill {
    meter: Option<Arc<Meter>>,
    seat: Arc<TenantSeat>,
    models: Arc<Models>,
    reservation: Reservation,
    /// Prompts of attempts without an answer, which upstreams charge for all the same.
    spent: PromptsSpent,
    /// The call, as it is traced.
    span: Span,
    is_answered: bool,
    /// Hears the answer, where it is to be in the span.
    listener: Option<Listener>,
}

impl Bill {
    /// Of a call that has used nothing yet. `meter` is there where the tenant's tokens are limited.
    pub(crate) fn new(
        meter: Option<Arc<Meter>>,
        seat: Arc<TenantSeat>,
        models: Arc<Models>,
        reservation: Reservation,
        span: Span,
    ) -> Self {
        let spent = PromptsSpent::default();
        Self { meter, seat, models, reservation, spent, span, is_answered: false, listener: None }
    }

    /// The answer is to be in the call's span, where that is recorded: whoever hears it for that.
    pub(crate) fn listen(&mut self) -> Option<Listener> {
        self.listener = self.span.is_recorded().then(Listener::default);
        self.listener.clone()
    }

    /// Where upstreams note the prompts they read for nothing.
    pub(crate) fn spent(&self) -> &PromptsSpent {
        &self.spent
    }

    /// What came instead of an answer.
    pub(crate) fn status(&mut self, status: StatusCode) {
        self.span.set(attribute::HTTP_RESPONSE_STATUS_CODE, status.as_u16());
    }

    /// The call was answered, and its answer used this. One of which nobody has read anything has cost its prompt.
    pub(crate) fn answered(mut self, used: Usage, by: &Answered) {
        self.is_answered = true;
        let used = if used.total() == 0 { Usage { input: by.prompt_tokens, ..used } } else { used };
        let cost_micros = by.prices.cost_micros(used.input, used.cached_input, used.output);
        let counted = self.models.metrics().of(self.seat.slot(), &by.model);
        counted.input.add(used.input);
        counted.cached_input.add(used.cached_input);
        counted.output.add(used.output);
        counted.cost_micros.add(cost_micros);
        if self.span.is_recorded() {
            self.span.set_text(attribute::GEN_AI_RESPONSE_MODEL, &by.model);
            self.span.set_text(attribute::WAGGLE_UPSTREAM, by.upstream.as_str());
            self.span.set(attribute::HTTP_REQUEST_RESEND_COUNT, by.attempts.saturating_sub(1));
            self.span.set(attribute::GEN_AI_USAGE_INPUT_TOKENS, used.input);
            self.span.set(attribute::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, used.cached_input);
            self.span.set(attribute::GEN_AI_USAGE_OUTPUT_TOKENS, used.output);
        }
        if let Some(messages) = self.listener.as_ref().and_then(Listener::messages) {
            self.span.set_content(attribute::GEN_AI_OUTPUT_MESSAGES, messages);
        }
        self.count(used.total(), cost_micros);
    }

    fn count(&mut self, tokens: u64, cost_micros: u64) {
        if let Some(meter) = &self.meter {
            meter.spend_tokens(tokens);
        }
        self.reservation.note(tokens, cost_micros);
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        if !self.is_answered {
            self.span.fail("no model answered");
        }
        let prompts = self.spent.prompts();
        if prompts > 0 {
            let abandoned = self.models.metrics().abandoned_of(self.seat.slot());
            abandoned.add(prompts, self.spent.tokens(), self.spent.cost_micros());
            self.count(self.spent.tokens(), self.spent.cost_micros());
        }
        // The reservation settles with what was noted when it is dropped, which is next.
    }
}
