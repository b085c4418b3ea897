//! A plain component: no `waggle:tool`, only functions with types of every kind.

mod bindings {
    guests::spin_sdk::wit_bindgen::generate!({
        inline: "
            package waggle:guests-plain@0.1.0;
            interface shop {
                record line { article: string, count: u8, note: option<string> }
                variant payment { cash, card(string) }
                enum size { small, large }
                flags extras { gift-wrap, express }
                record order { lines: list<line>, payment: payment, size: size, extras: extras }
                resource basket { add: func(line: line); }

                /// What an order costs, in cents.
                total: func(order: order) -> result<u64, string>;
                echo: func(order: order) -> order;
                swap: func(pair: tuple<s64, f64>) -> tuple<f64, s64>;
                bytes: func(data: list<u8>) -> list<u8>;
                initial: func(name: string) -> option<char>;
                nothing: func();
                not-a-number: func() -> f64;
                many: func(count: u32) -> list<u8>;
                fails: func() -> result;
                fill: func(basket: borrow<basket>);
            }
            world plain {
                export shop;
                export greet: func(name: string) -> string;
            }
        ",
        runtime_path: "::guests::spin_sdk::wit_bindgen::rt",
        world: "waggle:guests-plain/plain@0.1.0",
    });
}

use bindings::exports::waggle::guests_plain::shop::{
    BasketBorrow, Extras, Guest as Shop, GuestBasket, Line, Order, Payment, Size,
};

struct Plain;

bindings::export!(Plain with_types_in bindings);

impl bindings::Guest for Plain {
    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }
}

struct Basket;

impl GuestBasket for Basket {
    fn add(&self, _line: Line) {}
}

impl Shop for Plain {
    type Basket = Basket;

    fn total(order: Order) -> Result<u64, String> {
        if order.lines.is_empty() {
            return Err("the order is empty".to_owned());
        }
        let price = if order.size == Size::Large { 500 } else { 300 };
        let express = if order.extras.contains(Extras::EXPRESS) { 450 } else { 0 };
        let fee = if matches!(order.payment, Payment::Card(_)) { 25 } else { 0 };
        Ok(order.lines.iter().map(|line| u64::from(line.count) * price).sum::<u64>() + express + fee)
    }

    fn echo(order: Order) -> Order {
        order
    }

    fn swap(pair: (i64, f64)) -> (f64, i64) {
        (pair.1, pair.0)
    }

    fn bytes(data: Vec<u8>) -> Vec<u8> {
        data.into_iter().rev().collect()
    }

    fn initial(name: String) -> Option<char> {
        name.chars().next()
    }

    fn nothing() {}

    fn not_a_number() -> f64 {
        f64::NAN
    }

    fn many(count: u32) -> Vec<u8> {
        vec![0; count as usize]
    }

    fn fails() -> Result<(), ()> {
        Err(())
    }

    fn fill(_basket: BasketBorrow<'_>) {}
}
