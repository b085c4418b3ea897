//! Tries: to grow its memory to the very last page, touching each, and one past it; tells how many pages it got, and
//! carries on.

#[cfg(target_arch = "wasm32")]
use std::arch::wasm32::{memory_grow, memory_size};

guests::serve!(handle);

#[cfg(target_arch = "wasm32")]
async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    while memory_grow::<0>(1) != usize::MAX {
        let page = (memory_size::<0>() - 1) * 65536;
        for part in (page..page + 65536).step_by(4096) {
            // SAFETY: the page was got just now and nothing else knows of it.
            unsafe { (part as *mut u8).write_volatile(1) };
        }
    }
    let refused_at_once = memory_grow::<0>(65535) == usize::MAX;
    guests::answer(200, format!("{} pages, {refused_at_once}", memory_size::<0>()))
}

#[cfg(not(target_arch = "wasm32"))]
async fn handle(_request: guests::Request) -> guests::Answer {
    guests::fine()
}
