//! Filters against groups.

use super::*;
use proptest::prelude::*;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn compare_node(attribute: &str, comparison: Comparison, values: Vec<Value>) -> FilterNode {
    FilterNode::Compare { attribute: attribute.to_owned(), comparison, values }
}

fn group() -> Attributes {
    let attribute = |name: &str, value| (name.to_owned(), value);
    vec![
        attribute("kind", text("faq")),
        attribute("year", Value::Number(2026.0)),
        attribute("open", Value::Boolean(true)),
    ]
}

#[test]
fn each_comparison_is_what_it_says() {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual, NotOneOf, OneOf};
    let check = |attribute: &str, comparison, values: &[Value], expected: bool| {
        let node = compare_node(attribute, comparison, values.to_vec());
        let filter = Filter::new(vec![node]).unwrap();
        assert_eq!(filter.passes(&group()), expected, "{attribute} {comparison:?} {values:?}");
    };
    check("kind", Equal, &[text("faq")], true);
    check("kind", Equal, &[text("FAQ")], false);
    check("kind", NotEqual, &[text("faq")], false);
    check("kind", NotEqual, &[text("x")], true);
    check("kind", Greater, &[text("a")], true);
    check("kind", Less, &[text("a")], false);
    check("kind", OneOf, &[text("x"), text("faq")], true);
    check("kind", OneOf, &[], false);
    check("kind", NotOneOf, &[text("x"), text("faq")], false);
    check("kind", NotOneOf, &[], true);
    check("year", Equal, &[Value::Number(2026.0)], true);
    check("year", Greater, &[Value::Number(2026.0)], false);
    check("year", GreaterOrEqual, &[Value::Number(2026.0)], true);
    check("year", Less, &[Value::Number(2026.5)], true);
    check("year", LessOrEqual, &[Value::Number(2026.0)], true);
    check("open", Equal, &[Value::Boolean(true)], true);
    check("open", Greater, &[Value::Boolean(false)], true);
    // Of different types: neither equal nor greater nor less.
    check("year", Equal, &[text("2026")], false);
    check("year", NotEqual, &[text("2026")], true);
    for comparison in [Greater, GreaterOrEqual, Less, LessOrEqual] {
        check("year", comparison, &[text("2026")], false);
        check("missing", comparison, &[text("a")], false);
    }
    // A group without the attribute.
    check("missing", Equal, &[text("a")], false);
    check("missing", NotEqual, &[text("a")], true);
    check("missing", OneOf, &[text("a")], false);
    check("missing", NotOneOf, &[text("a")], true);
}

#[test]
fn nodes_are_joined_and_the_last_one_counts() {
    let yes = || compare_node("kind", Comparison::Equal, vec![text("faq")]);
    let no = || compare_node("kind", Comparison::Equal, vec![text("x")]);
    let check = |nodes: Vec<FilterNode>, expected: bool| {
        assert_eq!(Filter::new(nodes.clone()).unwrap().passes(&group()), expected, "{nodes:?}");
    };
    check(vec![], true);
    check(vec![yes(), no()], false);
    check(vec![no(), yes()], true);
    check(vec![yes(), no(), FilterNode::All(vec![0, 1])], false);
    check(vec![yes(), no(), FilterNode::Any(vec![0, 1])], true);
    check(vec![yes(), no(), FilterNode::All(vec![0, 0])], true);
    check(vec![FilterNode::All(vec![])], true);
    check(vec![FilterNode::Any(vec![])], false);
    check(vec![no(), yes(), FilterNode::Any(vec![0, 1]), FilterNode::All(vec![1, 2])], true);
}

#[test]
fn what_is_against_a_rule_is_refused_by_name() {
    let check = |nodes: Vec<FilterNode>, expected: &str| {
        let error = Filter::new(nodes).unwrap_err();
        assert!(matches!(error, IndexError::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    let many = |count: usize| vec![Value::Boolean(true); count];
    let value = |value| compare_node("a", Comparison::Equal, vec![value]);
    check(vec![FilterNode::All(vec![]); 101], "at most 100");
    check(vec![FilterNode::All(vec![0])], "node 0 of the filter refers to a node that is not before it");
    check(vec![FilterNode::Any(vec![]), FilterNode::Any(vec![u32::MAX])], "node 1");
    check(vec![compare_node("a", Comparison::Less, many(2))], "exactly one value");
    check(vec![compare_node("a", Comparison::Equal, many(0))], "exactly one value");
    check(vec![compare_node("a", Comparison::OneOf, many(101))], "at most 100");
    check(vec![compare_node("", Comparison::Equal, many(1))], "the name of an attribute is empty");
    check(vec![compare_node(&"n".repeat(65), Comparison::Equal, many(1))], "at most 64");
    check(vec![value(text(&"t".repeat(513)))], "at most 512");
    check(vec![value(Value::Number(f64::NAN))], "finite");
    assert!(Filter::new(vec![FilterNode::All(vec![]); 100]).is_ok());
    assert!(Filter::new(vec![compare_node("a", Comparison::NotOneOf, many(100))]).is_ok());
}

/// A filter as a tree, to hold the list of nodes against.
#[derive(Debug, Clone)]
enum Tree {
    Is(bool),
    All(Vec<Tree>),
    Any(Vec<Tree>),
}

impl Tree {
    fn passes(&self) -> bool {
        match self {
            Self::Is(value) => *value,
            Self::All(parts) => parts.iter().all(Self::passes),
            Self::Any(parts) => parts.iter().any(Self::passes),
        }
    }

    /// Adds the tree's nodes, and returns the place of its root.
    fn flatten(&self, nodes: &mut Vec<FilterNode>) -> u32 {
        let node = match self {
            Self::Is(value) => {
                let comparison = if *value { Comparison::Equal } else { Comparison::NotEqual };
                compare_node("kind", comparison, vec![text("faq")])
            }
            Self::All(parts) => FilterNode::All(parts.iter().map(|part| part.flatten(nodes)).collect()),
            Self::Any(parts) => FilterNode::Any(parts.iter().map(|part| part.flatten(nodes)).collect()),
        };
        nodes.push(node);
        u32::try_from(nodes.len()).unwrap() - 1
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    any::<bool>().prop_map(Tree::Is).prop_recursive(4, 60, 4, |inner| {
        let parts = prop::collection::vec(inner, 0..4);
        prop_oneof![parts.clone().prop_map(Tree::All), parts.prop_map(Tree::Any)]
    })
}

proptest! {
    #[test]
    fn a_list_of_nodes_is_the_tree_it_stands_for(tree in tree()) {
        let mut nodes = Vec::new();
        tree.flatten(&mut nodes);
        prop_assume!(nodes.len() <= FILTER_NODES_MAX);
        prop_assert_eq!(Filter::new(nodes).unwrap().passes(&group()), tree.passes());
    }
}
