//! Tries: to go on after its response is complete: with a loop, with naps, with writes, with calls to itself.

use guests::spin_sdk::key_value::Store;
use guests::wasip3::spawn;

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    if guests::is_asked_to_hurt(&request) {
        let trick = guests::trick(&request);
        spawn(async move {
            // Long enough for the response to be gone.
            guests::sleep_ms(50).await;
            go_on(&trick).await;
        });
    }
    guests::fine()
}

async fn go_on(trick: &str) {
    loop {
        match trick {
            "spin" => {
                std::hint::black_box(trick);
            }
            "nap" => guests::sleep_ms(1).await,
            "write" => {
                let store = Store::open("default").await.expect("the store exists");
                let _refused = store.set("left-over", b"x").await;
            }
            "call" => {
                let _denied = guests::fetch("http://self/task-after-response/", &[]).await;
            }
            other => panic!("no trick `{other}`"),
        }
    }
}
