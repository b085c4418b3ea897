//! Tries: memory without end, every page of it touched.

guests::serve!(handle);

const PIECE_BYTES: usize = 4 << 20;

async fn handle(request: guests::Request) -> guests::Answer {
    let mut kept = Vec::new();
    while guests::is_asked_to_hurt(&request) {
        kept.push(vec![1_u8; PIECE_BYTES]);
        std::hint::black_box(&kept);
    }
    guests::fine()
}
