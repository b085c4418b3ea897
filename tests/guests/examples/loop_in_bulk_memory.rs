//! Tries: an endless loop of instructions that each fill or copy megabytes of memory.

guests::serve!(handle);

const BYTES: usize = 48 << 20;

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let copies = guests::trick(&request) == "copy";
    let mut memory = vec![0_u8; 2 * BYTES];
    let mut turns = 0_u8;
    loop {
        let (from, to) = std::hint::black_box(&mut memory).split_at_mut(BYTES);
        if copies {
            to.copy_from_slice(from);
        } else {
            from.fill(turns);
        }
        turns = turns.wrapping_add(1);
    }
}
