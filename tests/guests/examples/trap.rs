//! Tries: the `unreachable` instruction.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    if guests::is_asked_to_hurt(&request) {
        #[cfg(target_arch = "wasm32")]
        std::arch::wasm32::unreachable();
    }
    guests::fine()
}
