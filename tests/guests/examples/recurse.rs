//! Tries: recursion without end.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let depth = if guests::is_asked_to_hurt(&request) { deeper(1) } else { 0 };
    guests::answer(200, format!("fine at {depth}\n"))
}

/// Keeps nothing in memory, so that it is the stack of calls that runs out.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { deeper(depth + 1).rotate_left(1) ^ depth }
}
