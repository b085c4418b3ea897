//! The classifier as a table: what is asked, and where it goes.

use super::*;
use serde_json::{Value, json};

fn choice(question: &str, rest: &Value, table: &TierTable) -> (&'static str, &'static str) {
    let mut body = json!({"messages": [{"role": "user", "content": question}]});
    if let Some(rest) = rest.as_object() {
        for (name, value) in rest {
            body[name] = value.clone();
        }
    }
    let body = body.to_string();
    let Choice { tier, reason } = choose(&Question::of_chat(body.as_bytes()), table);
    (tier.name(), reason)
}

fn check(question: &str, tier: &str, reason: &str) {
    let chosen = choice(question, &Value::Null, &TierTable::default());
    assert_eq!(chosen, (tier, reason), "{question:?}");
}

#[test]
fn simple_questions_go_to_the_small_tier() {
    for question in [
        "What are your opening hours?",
        "Where is my parcel?",
        "How do I reset my password?",
        "Do you ship to Austria?",
        "I want to return the red shoes I bought last week.",
        "Is the shop open on Sundays? And where is it?",
        "What is my discount code?",
        "The QR code does not scan",
        "Please resend the verification code",
        "Can I decode this?",
        "Who is improved by that",
        "ok",
        "",
        "你们几点开门?",
        "我的快递到哪了",
        "怎么修改收货地址?",
        "可以开发票吗",
        "验证码收不到怎么办",
        "我想退货",
        "這個有貨嗎",
        "这件衣服有 M 码吗?谢谢",
        "Wann öffnet ihr?",
        "¿Dónde está mi pedido?",
        "営業時間は?",
    ] {
        check(question, "small", "simple");
    }
}

#[test]
fn hard_words_go_to_the_large_tier() {
    for question in [
        "Compare the two tariffs for me",
        "Please analyse my last three bills",
        "Give me an analysis of this",
        "Prove that the sum is even",
        "Explain step by step how the fee came about",
        "Is this clause of my contract valid?",
        "What are the pros and cons of leasing?",
        "Calculate the compound interest over 5 years",
        "Write a script that renames files",
        "Why does this SQL return nothing",
        "Can you review my code and my promo code?",
        "TRANSLATE this into French",
        "帮我分析一下这份账单",
        "比较一下这两款手机",
        "請比較這兩個方案",
        "合同里的违约条款是什么意思",
        "计算一下三年的利息",
        "請計算總金額",
        "把这段话翻译成英文",
        "用Python写一段代码",
        "请一步一步说明",
        "证明这个结论",
    ] {
        check(question, "large", "keyword");
    }
}

#[test]
fn greetings_code_and_several_questions_are_told_apart() {
    check("Hi!", "small", "greeting");
    check("Hello there, good morning", "small", "greeting");
    check("Thank you very much!!", "small", "greeting");
    check("你好,在吗?", "small", "greeting");
    check("谢谢!再见。", "small", "greeting");
    check("你好,请分析我的账单", "large", "keyword");
    check("```\nx = 1\n```\nwhat is wrong", "large", "code");
    check("fn main() {\n    run();\n}\nwhat does it do", "large", "code");
    check("import os;\nimport sys;\nit hangs", "large", "code");
    check("Is it red? Is it big? Is it cheap?", "large", "several_questions");
    check("贵吗\u{ff1f}好用吗\u{ff1f}能退吗\u{ff1f}", "large", "several_questions");
    check("Really???", "small", "simple");
}

#[test]
fn length_counts_by_script() {
    let words = |count: usize| "word ".repeat(count);
    check(&words(150), "small", "simple");
    check(&words(170), "large", "length");
    check(&"字".repeat(190), "small", "simple");
    check(&"字".repeat(210), "large", "length");
    // In a script whose hard words nobody listed, a shorter question is hard.
    check(&"слово ".repeat(30), "small", "simple");
    check(&"слово ".repeat(70), "large", "length");
    check(&"x".repeat(1_000_000), "large", "length");
}

fn check_request(rest: &Value, tier: &str, reason: &str) {
    let chosen = choice("Where is my parcel?", rest, &TierTable::default());
    assert_eq!(chosen, (tier, reason), "{rest}");
}

#[test]
fn what_the_request_says_of_itself_counts() {
    check_request(&json!({"reasoning_effort": "minimal"}), "small", "effort");
    check_request(&json!({"reasoning_effort": "low", "tools": [{}]}), "small", "effort");
    check_request(&json!({"reasoning_effort": "medium"}), "small", "simple");
    check_request(&json!({"reasoning_effort": "high"}), "large", "effort");
    check_request(&json!({"tools": [{}]}), "large", "tools");
    check_request(&json!({"tools": [{}], "tool_choice": "none"}), "small", "simple");
    check_request(&json!({"response_format": {"type": "json_schema"}}), "large", "structured_output");
    check_request(&json!({"response_format": {"type": "json_object"}}), "small", "simple");
    let image =
        json!([{"role": "user", "content": [{"type": "text", "text": "what is it"}, {"type": "image_url"}]}]);
    check_request(&json!({ "messages": image }), "large", "image");
    check_request(&json!({"messages": [{"role": "user", "content": [1]}]}), "large", "unreadable");
    let greeting = choice("hi", &json!({"tools": [{}]}), &TierTable::default());
    assert_eq!(greeting, ("small", "greeting"), "tools do not make a greeting hard");
    let turn = [json!({"role": "user", "content": "a"}), json!({"role": "assistant", "content": "b"})];
    let history = |turns: usize| {
        let mut messages: Vec<Value> = turn.iter().cloned().cycle().take(2 * turns).collect();
        messages.push(json!({"role": "user", "content": "and now?"}));
        json!({ "messages": messages })
    };
    check_request(&history(10), "small", "simple");
    check_request(&history(11), "large", "history");
}

fn check_table(json: &str, question: &str, tier: &str, reason: &str) {
    let table = TierTable::read(json).unwrap();
    assert_eq!(choice(question, &Value::Null, &table), (tier, reason), "{json} {question:?}");
}

#[test]
fn a_tenants_table_comes_first() {
    let table = r#"{"large_keywords":["Refund*","退款","vip customer"],"small_keywords":["compare","opening hours"]}"#;
    check_table(table, "I want a refund", "large", "tenant_keyword");
    check_table(table, "REFUNDED?", "large", "tenant_keyword");
    check_table(table, "prefund", "small", "simple");
    check_table(table, "我要退款了", "large", "tenant_keyword");
    check_table(table, "I am a VIP  customer", "large", "tenant_keyword");
    check_table(table, "compare A and B", "small", "tenant_keyword");
    check_table(table, "compare the refunds", "large", "tenant_keyword");
    check_table(table, "analyse this", "large", "keyword");
    check_table(r#"{"builtin_keywords":false}"#, "analyse this", "small", "simple");
    check_table(r#"{"large_over_tokens":2}"#, "a little more than two", "large", "length");
    check_table(
        r#"{"large_over_tokens":2,"small_keywords":["little"]}"#,
        "a little more",
        "small",
        "tenant_keyword",
    );
    check_table(r#"{"large_keywords":["c++"]}"#, "is it C++?", "large", "tenant_keyword");
}
