//! What is taken out of a text, and what is not.

use super::*;

const ALL: usize = 1 << 20;

fn check(text: &str, expected: &str) {
    assert_eq!(redacted(text, ALL), expected, "{text:?}");
}

#[test]
fn the_pattern_is_one() {
    if let Err(error) = Regex::new(PATTERN) {
        panic!("{error}");
    }
}

#[test]
fn addresses_of_mail_are_taken_out() {
    check("write to ana.maria+x@mail.example.co.uk, please", "write to [email], please");
    check("请发到zhang.wei@example.com谢谢", "请发到[email]谢谢");
    check("<jürgen@müller.example>", "<[email]>");
    check("mailto:a@b.example?x", "mailto:[email]?x");
    check("13812345678@qq.example", "[email]");
    check("john%40example.com", "[email]");
    check("follow @waggle on v2 @ noon", "follow @waggle on v2 @ noon");
}

#[test]
fn telephone_numbers_are_taken_out() {
    for number in [
        "+49 (0)30 1234567",
        "+4930123456",
        "+86 138 1234 5678",
        "13812345678",
        "138-1234-5678",
        "１３８１２３４５６７８",
        "010-12345678",
        "(555) 123-4567",
        "555-1234",
        "0171 2345678",
        "01712345678",
        "+1 555.123.4567",
    ] {
        check(&format!("call {number} now"), "call [phone] now");
    }
    check("我的电话13812345678谢谢", "我的电话[phone]谢谢");
    check("tel:0171/2345678.", "tel:[phone].");
}

#[test]
fn numbers_of_cards_are_told_by_their_check_digit() {
    for card in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5500000000000004",
        "3400 0000 0000 009",
        "6240008631401148",
    ] {
        check(&format!("card {card}."), "card [card].");
    }
    check("card 4111111111111112.", "card [number].");
    check(r#"{"card":4111111111111111}"#, r#"{"card":[card]}"#);
}

#[test]
fn ibans_are_told_by_their_remainder() {
    check("DE89 3704 0044 0532 0130 00", "[iban]");
    check("to DE89370400440532013000 please", "to [iban] please");
    check("GB82 WEST 1234 5698 7654 32 is mine", "[iban] is mine");
    check("fr1420041010050500013m02606", "[iban]");
    check("NO93 8601 1117 947", "[iban]");
    check("DE88 3704 0044 0532 0130 00", "DE[number]");
    check("AB12 is a seat, and so is the one", "AB12 is a seat, and so is the one");
}

#[test]
fn identity_numbers_of_china_are_told_by_their_check_digit() {
    check("身份证11010519491231002X。", "身份证[id]。");
    check("440524188001010014", "[id]");
    check("440524188001010015", "[number]");
    check("11010519491231003X", "[number]X");
}

#[test]
fn long_numbers_are_taken_out_and_short_ones_stay() {
    check("account 12345678", "account [number]");
    check("order 1234567890123456789012345", "order [number]");
    check("12345678901234567890 and 1", "[number] and 1");
    for text in [
        "room 1234, 25 guests, 1234567 steps",
        "on 2024-01-31 12:30:45 or 31.12.2024",
        "2019-2024, 2023/24",
        "it costs 12345.67 EUR or 1,234,567.89 USD",
        "version 1.2.3, HTTP/1.1, 3.14159",
        "10:30-11:45",
        "550e8400-e29b-41d4-a716",
    ] {
        check(text, text);
    }
}

#[test]
fn keys_and_passwords_are_taken_out() {
    for key in [
        "sk-proj-abcDEF123_456-789",
        "sk-1234567890abcdef",
        "wk_abcdefgh2345_0123456789abcdef",
        "wgl_0123456789abcdef",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer abcdef.0123456789",
        "bearer   AbCdEf0123456789==",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "eyJhbGciOiJIUzI1NiJ9",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
    ] {
        check(&format!("use {key} here"), "use [key] here");
    }
    check("-----BEGIN PRIVATE KEY-----\nMIIE", "[key]");
    check("postgres://bob:hunter2@db/x", "[key]db/x");
    check("my password is hunter2, ok?", "my [password], ok?");
    check(r#"{"password": "hunter2"}"#, r#"{"[password]"}"#);
    check(r#"{\"api_key\":\"abc123\"}"#, r#"{\"[password]\"}"#);
    check("密码：hunter2。", "[password]。");
    check("the bearer of good news, a task-list, ask-me", "the bearer of good news, a task-list, ask-me");
    check("https://example.com/a?b=c", "https://example.com/a?b=c");
}

#[test]
fn what_is_ordinary_stays_as_it_is() {
    for text in [
        "",
        "The balance of my account is 25.30 EUR.",
        "今天天气很好，我们去公园吧。",
        "Où est l'hôtel? \"Là-bas\"\n\t- oui",
        "a@b and x@ and @y, 1+1=2 (3) [4] {5}",
    ] {
        check(text, text);
    }
}

#[test]
fn a_text_is_cut_to_its_room_in_json_and_says_so() {
    let room = |text: &str, bytes: usize| {
        let cut = redacted(text, bytes);
        assert!(json_text_bytes(&cut) <= bytes, "{cut:?} in {bytes}");
        assert_eq!(serde_json::to_string(&cut).unwrap().len(), json_text_bytes(&cut) + 2, "{cut:?}");
        cut
    };
    assert_eq!(room("abcdefghij", 8), "abcde…");
    assert_eq!(room("\"\"\"\"\"\"", 8), "\"\"…");
    assert_eq!(room("\u{1}\u{1}\u{1}", 16), "\u{1}\u{1}…");
    assert_eq!(room("你好你好你好", 10), "你好…");
    assert_eq!(room("short", 100), "short");
}

#[test]
fn no_half_of_a_number_is_left_where_a_text_is_cut() {
    let card = "4111 1111 1111 1111 ";
    for before in 0..60 {
        let text = format!("{} {}", "x".repeat(before), card.repeat(20));
        for bytes in [20, 33, 64] {
            let cut = redacted(&text, bytes);
            assert!(!cut.contains("41") && !cut.contains("11"), "{before} {bytes}: {cut}");
        }
    }
    let long = format!("{} me@example.com", "x".repeat(100));
    assert!(!redacted(&long, 104).contains("me"));
}
