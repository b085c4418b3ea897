//! Which slots have a value.

use crate::catalogue::{Intent, Slot, SlotKind};
use crate::date::Day;
use crate::slot::{standing, taken};
use serde_json::{Map, Value};

/// Whether a value of the slot's type may as well be that of another one.
fn is_ambiguous(intent: &Intent, slot: &Slot) -> bool {
    let is_number = |kind: &SlotKind| matches!(kind, SlotKind::Integer | SlotKind::Number);
    let alike = |other: &&Slot| {
        other.pattern.is_none()
            && (other.kind == slot.kind || is_number(&other.kind) && is_number(&slot.kind))
    };
    let by_type = slot.pattern.is_none() && (is_number(&slot.kind) || slot.kind == SlotKind::Date);
    by_type && intent.slots.iter().filter(alike).count() > 1
}

/// Adds the values that stand in the text beyond doubt, of slots that have none.
pub(crate) fn by_form(intent: &Intent, text: &str, slots: &mut Map<String, Value>, today: Day) {
    for slot in &intent.slots {
        if slots.contains_key(&slot.name) || is_ambiguous(intent, slot) {
            continue;
        }
        let mut found = standing(slot, text, today);
        if let (1, Some(value)) = (found.len(), found.pop()) {
            slots.insert(slot.name.clone(), value);
        }
    }
}

/// Adds what a model has found, of slots that have none, as far as it can be.
pub(crate) fn by_model(
    intent: &Intent,
    said: &Map<String, Value>,
    slots: &mut Map<String, Value>,
    today: Day,
) {
    for slot in &intent.slots {
        if slots.contains_key(&slot.name) {
            continue;
        }
        if let Some(value) = said.get(&slot.name).and_then(|value| taken(slot, value, today)) {
            slots.insert(slot.name.clone(), value);
        }
    }
}

/// The required slots without a value, in their order.
pub(crate) fn missing<'i>(intent: &'i Intent, slots: &Map<String, Value>) -> Vec<&'i Slot> {
    intent.slots.iter().filter(|slot| slot.required && !slots.contains_key(&slot.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use serde_json::json;

    #[test]
    fn what_stands_in_a_text_beyond_doubt_is_taken() {
        let slots = json!([{"name": "order", "type": "string", "pattern": "\\b1[0-9]{3}\\b", "required": true},
            {"name": "from", "type": "date"}, {"name": "to", "type": "date"},
            {"name": "size", "type": "enum", "values": ["S", "L"], "required": true}]);
        let text = json!([{"name": "a", "examples": ["x"], "slots": slots}]).to_string();
        let catalogue = Catalogue::read(&text).unwrap();
        let intent = &catalogue.intents()[0];
        let today = Day::of_ms(0);
        let mut known = Map::new();
        by_form(intent, "order 1001 of 2026-03-05", &mut known, today);
        assert_eq!(json!(known), json!({"order": "1001"}), "either day may be meant");
        assert_eq!(missing(intent, &known)[0].name, "size");
        let said = json!({"order": "2002", "from": "2026-03-05", "to": null, "size": "XXL", "other": 1});
        by_model(intent, said.as_object().unwrap(), &mut known, today);
        assert_eq!(json!(known), json!({"order": "1001", "from": "2026-03-05"}));
    }
}
