//! Whatever is done, in whatever order: the index answers as a plain table of chunks would that is searched by the book.

use crate::support::{World, by_text, by_vector, chunk, run};
use proptest::prelude::*;
use std::collections::BTreeMap;
use waggle_index::{Attributes, Chunk, Hit, Index, IndexError, Query, Settings, Value, words};

const INDEXES: [&str; 2] = ["a", "b"];
const GROUPS: [&str; 3] = ["g", "h", "退"];
const WORDS: [&str; 5] = ["apple", "pears", "退款", "流程", "the"];

#[derive(Debug, Clone)]
enum Step {
    Create(usize, u32),
    Drop(usize),
    Stage(usize, usize, u64, Vec<Chunk>),
    Publish(usize, usize, u64, u32, Attributes),
    /// What is staged of a version, as far as it goes.
    PublishStaged(usize, usize, u64, Attributes),
    Discard(usize, usize, u64),
    Remove(usize, Vec<usize>),
    SetAttributes(usize, usize, Attributes),
}

#[derive(Debug, Clone, Default)]
struct ModelGroup {
    published: Option<(u64, Attributes, Vec<Chunk>)>,
    drafts: BTreeMap<u64, BTreeMap<u32, Chunk>>,
}

#[derive(Debug, Clone, Default)]
struct ModelIndex {
    dimensions: u32,
    groups: BTreeMap<&'static str, ModelGroup>,
}

/// The kind of an error, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Done,
    NoSuchIndex,
    NoSuchGroup,
    Invalid,
}

fn told(result: Result<(), IndexError>) -> Told {
    match result {
        Ok(()) => Told::Done,
        Err(IndexError::NoSuchIndex) => Told::NoSuchIndex,
        Err(IndexError::NoSuchGroup) => Told::NoSuchGroup,
        Err(IndexError::Invalid(_)) => Told::Invalid,
        Err(other) => panic!("{other:?}"),
    }
}

#[derive(Debug, Default)]
struct Model(BTreeMap<&'static str, ModelIndex>);

impl Model {
    fn apply(&mut self, step: &Step) -> Told {
        let index = match step {
            Step::Create(index, dimensions) => {
                let new = ModelIndex { dimensions: *dimensions, groups: BTreeMap::new() };
                let found = self.0.entry(INDEXES[*index]).or_insert(new);
                return if found.dimensions == *dimensions { Told::Done } else { Told::Invalid };
            }
            Step::Drop(index) => {
                self.0.remove(INDEXES[*index]);
                return Told::Done;
            }
            Step::Stage(index, ..)
            | Step::Publish(index, ..)
            | Step::PublishStaged(index, ..)
            | Step::Discard(index, ..)
            | Step::Remove(index, ..)
            | Step::SetAttributes(index, ..) => *index,
        };
        match self.0.get_mut(INDEXES[index]) {
            Some(found) => found.apply(step),
            None => Told::NoSuchIndex,
        }
    }
}

impl ModelIndex {
    fn apply(&mut self, step: &Step) -> Told {
        match step {
            Step::Create(..) | Step::Drop(_) => Told::Done,
            Step::Stage(_, group, version, chunks) => self.stage(*group, *version, chunks),
            Step::Publish(_, group, version, chunks, attributes) => {
                self.publish(*group, *version, *chunks, attributes)
            }
            Step::PublishStaged(_, group, version, attributes) => {
                self.publish(*group, *version, self.staged(*group, *version), attributes)
            }
            Step::Discard(_, group, version) => {
                self.group(*group).drafts.remove(version);
                Told::Done
            }
            Step::Remove(_, groups) => {
                groups.iter().for_each(|group| drop(self.groups.remove(GROUPS[*group])));
                Told::Done
            }
            Step::SetAttributes(_, group, attributes) => match &mut self.group(*group).published {
                Some((_, old, _)) => {
                    old.clone_from(attributes);
                    Told::Done
                }
                None => Told::NoSuchGroup,
            },
        }
    }

    fn group(&mut self, group: usize) -> &mut ModelGroup {
        self.groups.entry(GROUPS[group]).or_default()
    }

    fn stage(&mut self, group: usize, version: u64, chunks: &[Chunk]) -> Told {
        let dimensions = self.dimensions as usize;
        let wrong = |chunk: &Chunk| chunk.vector.as_ref().is_some_and(|vector| vector.len() != dimensions);
        if chunks.iter().any(wrong) {
            return Told::Invalid;
        }
        if chunks.is_empty() {
            return Told::Done;
        }
        let group = self.group(group);
        if group.published.as_ref().is_some_and(|(published, ..)| version <= *published) {
            return Told::Invalid;
        }
        let draft = group.drafts.entry(version).or_default();
        draft.extend(chunks.iter().map(|chunk| (chunk.ordinal, chunk.clone())));
        Told::Done
    }

    fn staged(&self, group: usize, version: u64) -> u32 {
        let draft = self.groups.get(GROUPS[group]).and_then(|group| group.drafts.get(&version));
        (0..).find(|ordinal| draft.is_none_or(|draft| !draft.contains_key(ordinal))).unwrap()
    }

    fn publish(&mut self, group: usize, version: u64, chunks: u32, attributes: &Attributes) -> Told {
        let group = self.group(group);
        match &mut group.published {
            Some((published, old, _)) if *published == version => {
                old.clone_from(attributes);
                return Told::Done;
            }
            Some((published, ..)) if *published > version => return Told::Invalid,
            _ => {}
        }
        let draft = match group.drafts.get(&version) {
            Some(draft) if draft.keys().copied().eq(0..chunks) => draft.clone(),
            Some(_) => return Told::Invalid,
            None if chunks == 0 => BTreeMap::new(),
            None => return Told::NoSuchGroup,
        };
        group.published = Some((version, attributes.clone(), draft.into_values().collect()));
        group.drafts.retain(|draft, _| *draft > version);
        Told::Done
    }

    /// The published chunks, each with its group.
    fn chunks(&self) -> Vec<(&'static str, &Chunk)> {
        let published =
            self.groups.iter().filter_map(|(name, group)| Some((*name, group.published.as_ref()?)));
        published.flat_map(|(name, (_, _, chunks))| chunks.iter().map(move |chunk| (name, chunk))).collect()
    }
}

fn perform(world: &World, step: &Step) -> Told {
    let index = &world.index;
    told(run(async {
        match step.clone() {
            Step::Create(name, dimensions) => index.create(INDEXES[name], Settings { dimensions }).await,
            Step::Drop(name) => index.drop_index(INDEXES[name]).await,
            Step::Stage(name, group, version, chunks) => {
                index.stage(INDEXES[name], GROUPS[group], version, chunks).await
            }
            Step::Publish(name, group, version, chunks, attributes) => {
                index.publish(INDEXES[name], GROUPS[group], version, chunks, attributes).await
            }
            Step::PublishStaged(name, group, version, attributes) => {
                let chunks = index.staged(INDEXES[name], GROUPS[group], version).await?;
                index.publish(INDEXES[name], GROUPS[group], version, chunks, attributes).await
            }
            Step::Discard(name, group, version) => index.discard(INDEXES[name], GROUPS[group], version).await,
            Step::Remove(name, groups) => {
                let groups = groups.into_iter().map(|group| GROUPS[group].to_owned()).collect();
                index.remove(INDEXES[name], groups).await
            }
            Step::SetAttributes(name, group, attributes) => {
                index.set_attributes(INDEXES[name], GROUPS[group], attributes).await
            }
        }
    }))
}

/// Every published chunk whose words are asked for, with its score by the book: the greatest first.
fn bm25(chunks: &[(&'static str, &Chunk)], question: &str) -> Vec<((String, u32), f32)> {
    let mut asked = words::of_query(question);
    asked.sort_unstable();
    asked.dedup();
    let of = |chunk: &Chunk| [words::of_document(&chunk.heading), words::of_document(&chunk.text)].concat();
    let documents: Vec<Vec<String>> = chunks.iter().map(|(_, chunk)| of(chunk)).collect();
    let count = documents.len() as f64;
    let average = documents.iter().map(Vec::len).sum::<usize>() as f64 / count;
    let mut scored = Vec::new();
    for ((group, chunk), document) in chunks.iter().zip(&documents) {
        let mut score = 0.0;
        for word in &asked {
            let with = documents.iter().filter(|document| document.contains(word)).count() as f64;
            let times = document.iter().filter(|found| *found == word).count() as f64;
            let weight = ((count - with + 0.5) / (with + 0.5)).ln_1p();
            score += weight * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * document.len() as f64 / average));
        }
        if score > 0.0 {
            scored.push((((*group).to_owned(), chunk.ordinal), score as f32));
        }
    }
    scored.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    scored
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    let dot =
        |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(l, r)| f64::from(l * r)).sum::<f64>();
    (dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()) as f32
}

fn place(hit: &Hit) -> (String, u32) {
    (hit.group.clone(), hit.ordinal)
}

/// What is found has the scores it has by the book, and nothing that is better was left out.
fn check_ranking(found: Vec<((String, u32), f32)>, expected: &[((String, u32), f32)], limit: usize) {
    assert_eq!(found.len(), expected.len().min(limit), "{found:?}, not {expected:?}");
    let scores: BTreeMap<_, _> = expected.iter().cloned().collect();
    for ((place, score), (_, at_this_rank)) in found.iter().zip(expected) {
        assert!((score - scores[place]).abs() < 1e-4, "{place:?}: {found:?}, not {expected:?}");
        // Chunks whose scores differ by rounding only may have changed places.
        assert!((score - at_this_rank).abs() < 1e-4, "{place:?}: {found:?}, not {expected:?}");
    }
}

fn check_state(world: &World, model: &Model) {
    let names: Vec<&str> = model.0.keys().copied().collect();
    assert_eq!(run(world.index.list_indexes(None, 10)).unwrap(), names);
    for (name, index) in &model.0 {
        let groups = world.groups(name);
        let published: Vec<_> = index
            .groups
            .iter()
            .filter_map(|(name, group)| Some((*name, group.published.as_ref()?)))
            .collect();
        assert_eq!(groups.len(), published.len());
        for (found, (group, (version, attributes, chunks))) in groups.iter().zip(&published) {
            assert_eq!((found.name.as_str(), found.version), (*group, *version));
            assert_eq!((found.chunks as usize, &found.attributes), (chunks.len(), attributes));
            let read = world.read(name, group);
            let expected: Vec<Chunk> =
                chunks.iter().map(|chunk| Chunk { vector: None, ..chunk.clone() }).collect();
            assert_eq!(read, expected);
        }
        for (group, group_name) in GROUPS.iter().enumerate() {
            for version in 0..4 {
                let staged = run(world.index.staged(name, group_name, version)).unwrap();
                assert_eq!(staged, index.staged(group, version), "{group_name} {version}");
            }
        }
        let described = run(world.index.describe(name)).unwrap();
        assert_eq!(described.settings.dimensions, index.dimensions);
        assert_eq!(
            (described.groups as usize, described.chunks as usize),
            (published.len(), index.chunks().len())
        );
        check_searches(world, name, index);
    }
    world.check_pages();
}

fn check_searches(world: &World, name: &str, index: &ModelIndex) {
    let chunks = index.chunks();
    for question in ["apple pear", "退款流程 the"] {
        let hits = world.search(&[name], Query { limit: 5, ..by_text(question) });
        let found = hits.iter().map(|hit| (place(hit), hit.text_score.unwrap())).collect();
        check_ranking(found, &bm25(&chunks, question), 5);
    }
    if index.dimensions == 2 {
        let asked = [0.6, 0.8];
        let mut expected: Vec<_> = chunks
            .iter()
            .filter_map(|(group, chunk)| {
                Some((((*group).to_owned(), chunk.ordinal), cosine(chunk.vector.as_deref()?, &asked)))
            })
            .collect();
        expected.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        let hits = world.search(&[name], Query { limit: 5, ..by_vector(&asked) });
        let found = hits.iter().map(|hit| (place(hit), hit.vector_score.unwrap())).collect();
        check_ranking(found, &expected, 5);
    }
}

fn chunks() -> impl Strategy<Value = Vec<Chunk>> {
    let text = prop::collection::vec(prop::sample::select(&WORDS[..]), 1..6);
    let vector = prop::option::weighted(0.3, (-4i8..5, 1i8..5));
    let chunk = (0u32..4, text, vector).prop_map(|(ordinal, text, vector)| {
        let vector = vector.map(|(x, y)| vec![f32::from(x), f32::from(y)]);
        Chunk { vector, ..chunk(ordinal, &text.join(" ")) }
    });
    prop::collection::vec(chunk, 0..5)
}

fn step() -> impl Strategy<Value = Step> {
    let attributes = || {
        let value = prop_oneof![
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Number),
            "[a-zé\\\\]{0,3}".prop_map(Value::Text),
            any::<bool>().prop_map(Value::Boolean)
        ];
        prop::collection::btree_map("[a-c]", value, 0..3)
            .prop_map(|map| map.into_iter().collect::<Attributes>())
    };
    let (index, group, version) = (0..INDEXES.len(), 0..GROUPS.len(), 0u64..4);
    let at = (index.clone(), group.clone(), version.clone());
    prop_oneof![
        3 => (index.clone(), prop::sample::select(vec![0u32, 2, 2])).prop_map(|(i, d)| Step::Create(i, d)),
        1 => index.clone().prop_map(Step::Drop),
        9 => (at.clone(), chunks()).prop_map(|((i, g, v), chunks)| Step::Stage(i, g, v, chunks)),
        2 => (at.clone(), 0u32..5, attributes()).prop_map(|((i, g, v), n, a)| Step::Publish(i, g, v, n, a)),
        6 => (at.clone(), attributes()).prop_map(|((i, g, v), a)| Step::PublishStaged(i, g, v, a)),
        1 => at.prop_map(|(i, g, v)| Step::Discard(i, g, v)),
        1 => (index.clone(), prop::collection::vec(group.clone(), 0..3)).prop_map(|(i, g)| Step::Remove(i, g)),
        1 => (index, group, attributes()).prop_map(|(i, g, a)| Step::SetAttributes(i, g, a)),
    ]
}

proptest! {
    #[test]
    fn it_answers_as_a_table_would(steps in prop::collection::vec(step(), 0..40)) {
        let (world, mut model) = (World::new(), Model::default());
        let mut revisions: BTreeMap<&str, u64> = BTreeMap::new();
        for step in [Step::Create(0, 2)].iter().chain(&steps) {
            prop_assert_eq!(perform(&world, step), model.apply(step), "{:?}", step);
            for name in model.0.keys() {
                let revision = world.revision(name);
                let before = revisions.insert(name, revision).unwrap_or_default();
                prop_assert!(revision >= before, "{} of {} went back", revision, name);
            }
        }
        check_state(&world, &model);
    }
}
