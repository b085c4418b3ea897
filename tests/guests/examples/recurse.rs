//! Tries: recursion without end.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let depth = if guests::is_asked_to_hurt(&request) { deeper(1) } else { 0 };
    guests::answer(200, format!("fine at {depth}\n"))
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 32]);
    if frame[0] == 0 { 0 } else { deeper(depth + 1) + frame[31] }
}
