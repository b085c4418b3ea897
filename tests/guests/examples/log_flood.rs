//! Tries: to fill the log, with many lines and with one that never ends.

guests::serve!(handle);

const LINES: u32 = 20_000;
const LONG_BYTES: usize = 1 << 20;

async fn handle(request: guests::Request) -> guests::Answer {
    if guests::is_asked_to_hurt(&request) {
        for number in 0..LINES {
            println!("flood line {number} \u{1b}[31mred\u{1b}[0m");
        }
        eprint!("{}", "x".repeat(LONG_BYTES));
    }
    guests::fine()
}
