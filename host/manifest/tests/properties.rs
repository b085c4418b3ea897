//! What must hold for any input: routes against a naive reference, templates, allow-lists, and that no text whatever
//! makes the parser panic.

use proptest::prelude::*;
use waggle_manifest::{
    Manifest, OutboundHost, OutboundHosts, RoutePattern, RouteTable, RuntimeConfig, SourceFile, Template,
};

/// A route's answer by the plainest reading of the rules: try every route, keep the most specific.
fn reference<'r>(routes: &'r [String], path: &str) -> Option<(&'r str, String)> {
    let inner = path.trim_matches('/');
    let segments: Vec<&str> = if inner.is_empty() { vec![] } else { inner.split('/').collect() };
    let mut best: Option<(Vec<u8>, &str, String)> = None;
    for route in routes {
        let Some((rank, rest)) = reference_match(route, &segments) else {
            continue;
        };
        let path_info = match (rest, path.ends_with('/')) {
            (None, _) => String::new(),
            (Some([]), false) => String::new(),
            (Some([]), true) => "/".to_owned(),
            (Some(rest), false) => format!("/{}", rest.join("/")),
            (Some(rest), true) => format!("/{}/", rest.join("/")),
        };
        if best.as_ref().is_none_or(|(other, _, _)| rank < *other) {
            best = Some((rank, route, path_info));
        }
    }
    best.map(|(_, route, path_info)| (route, path_info))
}

/// How specific the match is (smaller is better, compared from the left), and what the wildcard took.
fn reference_match<'p>(route: &str, path: &'p [&'p str]) -> Option<(Vec<u8>, Option<&'p [&'p str]>)> {
    let mut rank = Vec::new();
    let pattern: Vec<&str> =
        route.trim_matches('/').split('/').filter(|segment| !segment.is_empty()).collect();
    for (index, segment) in pattern.iter().enumerate() {
        if *segment == "..." {
            rank.push(9);
            return Some((rank, Some(&path[index..])));
        }
        let actual = path.get(index)?;
        match segment.strip_prefix(':') {
            Some(_) if actual.is_empty() => return None,
            Some(_) => rank.push(5),
            None if segment == actual => rank.push(1),
            None => return None,
        }
    }
    (pattern.len() == path.len()).then_some((rank, None))
}

fn a_route() -> impl Strategy<Value = String> {
    let segment = prop_oneof!["[ab]{1,2}", Just(":".to_owned())];
    (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, is_wildcard)| {
        let mut route = String::new();
        for (index, segment) in segments.iter().enumerate() {
            route.push('/');
            route.push_str(segment);
            if segment == ":" {
                route.push_str(&format!("p{index}"));
            }
        }
        if is_wildcard {
            route.push_str("/...");
        }
        if route.is_empty() { "/".to_owned() } else { route }
    })
}

fn a_table() -> impl Strategy<Value = Vec<String>> {
    prop::collection::hash_set(a_route(), 1..12).prop_map(|routes| routes.into_iter().collect())
}

/// A valid manifest with a few characters taken out, put in or doubled.
fn a_broken_manifest() -> impl Strategy<Value = String> {
    let shop = include_str!("manifests/shop.toml");
    let change = (any::<prop::sample::Index>(), 0_usize..40, "[\"'\\[\\]{}=.,:#\n a1é\\\\-]{0,4}");
    prop::collection::vec(change, 1..5).prop_map(move |changes| {
        let mut text: Vec<char> = shop.chars().collect();
        for (at, removed, inserted) in changes {
            let start = at.index(text.len() + 1);
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lookups_agree_with_the_naive_reference(routes in a_table(), path in "(/{1,2}(a|b|ab|c|aa|)){1,5}/?") {
        let pairs = routes.iter().map(|route| (RoutePattern::parse(route).expect("a route"), route.clone()));
        let table = RouteTable::new(pairs);
        let found = table.lookup(&path).map(|found| (found.component, found.path_info.to_owned()));
        prop_assert_eq!(found, reference(&routes, &path), "{} in {:?}", path, routes);
    }

    #[test]
    fn captured_parameters_put_back_give_the_path(segments in prop::collection::vec("[a-z.]{1,5}", 1..6)) {
        let route: String = (0..segments.len()).map(|index| format!("/:p{index}")).collect();
        let table = RouteTable::new([(RoutePattern::parse(&route).expect("a route"), "c".to_owned())]);
        let path = format!("/{}", segments.join("/"));
        let found = table.lookup(&path).expect("a match");
        let values: Vec<&str> = found.parameters.iter().map(|(_, value)| *value).collect();
        prop_assert_eq!(values, segments);
    }

    #[test]
    fn a_route_in_its_one_spelling_is_the_same_route(route in "[/:.*a-c]{0,12}") {
        if let Ok(pattern) = RoutePattern::parse(&route) {
            let again = RoutePattern::parse(pattern.as_str()).expect("the spelling is a route");
            prop_assert_eq!(again.shape(), pattern.shape());
            prop_assert_eq!(again.as_str(), pattern.as_str());
        }
    }

    #[test]
    fn a_template_puts_literals_and_values_back_in_order(
        parts in prop::collection::vec((any::<bool>(), "[^{}]{0,6}"), 0..8),
    ) {
        let name = |text: &str| format!("v{}", text.trim());
        let mut written = String::new();
        let mut expected = String::new();
        for (is_variable, text) in &parts {
            if *is_variable {
                written.push_str(&format!("{{{{ {} }}}}", name(text)));
                expected.push_str(&format!("<{}>", name(text)));
            } else {
                written.push_str(text);
                expected.push_str(text);
            }
        }
        let template = Template::parse(&written).expect("a template");
        prop_assert_eq!(template.expand(|name| Some(format!("<{name}>"))), Ok(expected));
        prop_assert_eq!(&Template::parse(&template.to_string()).expect("the same"), &template);
        for (name, range) in template.variables() {
            prop_assert_eq!(written[range].trim_matches(['{', '}']).trim(), name);
        }
    }

    #[test]
    fn any_text_is_a_template_a_route_and_a_host_or_a_mistake_within_it(text in "\\PC{0,40}|[a-z0-9:/.*\\[\\]{}@?# é]{0,30}") {
        let inside = |range: std::ops::Range<usize>| text.get(range).is_some();
        prop_assert!(Template::parse(&text).map_or_else(|error| inside(error.range()), |_| true));
        prop_assert!(RoutePattern::parse(&text).map_or_else(|error| inside(error.range), |_| true));
        prop_assert!(OutboundHost::parse(&text).map_or_else(|error| inside(error.range), |_| true));
    }

    #[test]
    fn an_empty_list_allows_nothing_and_a_full_one_everything(
        scheme in "[a-zA-Z]{1,6}", host in "\\PC{0,20}", port in any::<u16>(),
    ) {
        prop_assert!(!OutboundHosts::default().allows(&scheme, &host, Some(port)));
        let all = OutboundHosts::new([OutboundHost::parse("*://*:*").expect("an entry")], []);
        prop_assert!(all.allows(&scheme, &host, Some(port)));
    }

    #[test]
    fn any_text_is_a_manifest_or_has_mistakes_that_can_be_shown(text in "(?s).{0,200}|[\\[\\]a-z\"'=.{},\n ]{0,80}") {
        if let Err(found) = Manifest::parse("spin.toml", &text, Some("p")) {
            prop_assert!(found.has_errors());
            prop_assert!(!found.render(true).is_empty());
        }
        let _ = RuntimeConfig::parse("r.toml", &text).map_err(|found| found.to_string());
    }

    #[test]
    fn a_slip_in_a_valid_manifest_never_panics(text in a_broken_manifest()) {
        if let Err(found) = Manifest::parse("spin.toml", &text, Some("debug")) {
            for finding in &found {
                let place = finding.location.as_ref();
                prop_assert!(place.is_none_or(|place| text.get(place.span.clone()).is_some()), "{}", finding);
            }
            prop_assert!(found.to_string().starts_with("error: ") || found.to_string().starts_with("warning: "));
        }
    }

    #[test]
    fn any_span_has_a_place(text in "[aé\n\r\t知]{0,30}", start in 0_usize..80, length in 0_usize..80) {
        let source = SourceFile::new("f", text);
        let place = source.locate(start..start.saturating_add(length));
        prop_assert!(place.line >= 1 && place.column >= 1 && place.marked_chars >= 1);
    }
}

#[test]
fn deep_nesting_is_a_mistake_and_no_crash() {
    let head = "spin_manifest_version = 2\n";
    for text in [
        format!("{head}a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{head}a = {}", "{a=".repeat(100_000)),
        format!("{head}{}b = 1", "a.".repeat(100_000)),
        format!("{head}[{}b]", "a.".repeat(100_000)),
    ] {
        assert!(Manifest::parse("spin.toml", &text, None).is_err());
    }
}
