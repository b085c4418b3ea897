//! A well-behaved tool: finds an order, cancels one, counts what was asked about, and asks a service where a parcel is.

use guests::tool::{Definition, Error, Invocation, argument, atomics, definition, fetch, store};

guests::serve_tool!(describe, call);

/// The store that it is to be granted.
const STORE: &str = "orders";
const PARAMETERS: &str = r#"{"type":"object","properties":{"order_id":{"type":"string","description":"As it stands on the invoice, such as A-1001."}},"required":["order_id"],"additionalProperties":false}"#;
const OUTPUT: &str = r#"{"type":"object","properties":{"order_id":{"type":"string"},"status":{"type":"string"}},"required":["order_id","status"]}"#;

fn describe() -> Vec<Definition> {
    let of_an_order = |name: &str, description: &str| Definition {
        parameters: PARAMETERS.to_owned(),
        ..definition(name, description)
    };
    vec![
        Definition {
            output: Some(OUTPUT.to_owned()),
            ..of_an_order("find_order", "Finds an order by its number and says how far it is.")
        },
        Definition {
            side_effects: true,
            idempotent: true,
            needs_approval: true,
            ..of_an_order("cancel_order", "Cancels an order that has not been sent yet.")
        },
        Definition {
            side_effects: true,
            ..of_an_order("count", "Counts how often an order was asked about.")
        },
        of_an_order("track", "Asks the carrier at http://parcels.example where the parcel is."),
    ]
}

fn call(invocation: Invocation) -> Result<String, Error> {
    let id = argument(&invocation, "order_id")
        .ok_or_else(|| Error::InvalidArguments("there is no `order_id`".to_owned()))?;
    match invocation.name.as_str() {
        "find_order" => find(&id),
        "cancel_order" => Ok(format!("cancelled {id} by {}", invocation.idempotency_key)),
        "count" => count(&id),
        "track" => track(&id),
        _ => Err(Error::NoSuchTool),
    }
}

fn find(id: &str) -> Result<String, Error> {
    match id {
        "A-1001" => Ok(r#"{"order_id":"A-1001","status":"sent"}"#.to_owned()),
        "A-1002" => Err(Error::Unavailable("the order is being written; try again".to_owned())),
        _ => Err(Error::InvalidArguments(format!("there is no order {id}"))),
    }
}

fn count(id: &str) -> Result<String, Error> {
    let told = |error: store::Error| Error::Failed(format!("{error:?}"));
    let bucket = store::open(STORE).map_err(told)?;
    atomics::increment(&bucket, id, 1).map(|count| count.to_string()).map_err(told)
}

fn track(id: &str) -> Result<String, Error> {
    match fetch("parcels.example", &format!("/parcels/{id}")) {
        Ok(status) => Ok(format!("the carrier answered {status}")),
        Err(error) => Err(Error::Failed(format!("{error:?}"))),
    }
}
