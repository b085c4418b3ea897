//! A tool in Rust: converts amounts of money between currencies, at fixed rates.

mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "waggle:tool/pure-tool@0.1.0",
    });
}

use bindings::exports::waggle::tool::tool::{Definition, Error, Guest, Invocation};
use serde::{Deserialize, Serialize};

/// What one euro is worth. A real tool would ask for it: see `outbound` among the grants.
const RATES: &[(&str, f64)] = &[("EUR", 1.0), ("USD", 1.16), ("GBP", 0.88), ("CHF", 0.93), ("JPY", 181.0)];

const PARAMETERS: &str = r#"{
  "type": "object",
  "properties": {
    "amount": {"type": "number", "description": "How much, in the currency `from`."},
    "from": {"type": "string", "enum": ["EUR", "USD", "GBP", "CHF", "JPY"]},
    "to": {"type": "string", "enum": ["EUR", "USD", "GBP", "CHF", "JPY"]}
  },
  "required": ["amount", "from", "to"],
  "additionalProperties": false
}"#;

const OUTPUT: &str = r#"{
  "type": "object",
  "properties": {"amount": {"type": "number"}, "currency": {"type": "string"}},
  "required": ["amount", "currency"]
}"#;

#[derive(Deserialize)]
struct Conversion {
    amount: f64,
    from: String,
    to: String,
}

#[derive(Serialize)]
struct Converted<'a> {
    amount: f64,
    currency: &'a str,
}

struct Tool;

bindings::export!(Tool with_types_in bindings);

impl Guest for Tool {
    fn describe() -> Vec<Definition> {
        vec![Definition {
            name: "convert".to_owned(),
            description: "Converts an amount of money into another currency, at today's rate.".to_owned(),
            parameters: PARAMETERS.to_owned(),
            output: Some(OUTPUT.to_owned()),
            side_effects: false,
            idempotent: true,
            needs_approval: false,
        }]
    }

    fn call(invocation: Invocation) -> Result<String, Error> {
        if invocation.name != "convert" {
            return Err(Error::NoSuchTool);
        }
        let asked: Conversion = serde_json::from_str(&invocation.arguments)
            .map_err(|error| Error::InvalidArguments(error.to_string()))?;
        let amount = asked.amount / rate(&asked.from)? * rate(&asked.to)?;
        let converted = Converted { amount: (amount * 100.0).round() / 100.0, currency: &asked.to };
        serde_json::to_string(&converted).map_err(|error| Error::Failed(error.to_string()))
    }
}

fn rate(currency: &str) -> Result<f64, Error> {
    let known = RATES.iter().find(|(name, _rate)| *name == currency);
    known
        .map(|(_name, rate)| *rate)
        .ok_or_else(|| Error::InvalidArguments(format!("there is no rate for {currency}")))
}
