//! Tries: an endless loop in a start-up initialiser, before the instance has ever been handed a request.

guests::serve!(handle);

#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = never_ends;

extern "C" fn never_ends() {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

async fn handle(_request: guests::Request) -> guests::Answer {
    guests::fine()
}
