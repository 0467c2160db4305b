//! What a JSON Schema can cost, worked out before it is used.
//!
//! A schema is a program that a stranger wrote. Regular expressions run in linear time, but a schema of a few hundred
//! bytes can ask for 2^50 steps by references: `a` wants `b` twice, `b` wants `c` twice, and so on. So the visits are
//! counted that one place of a value can get: from the root through everything that applies to the same place, and,
//! level by level, to the places below, each kind of place apart. How deep the validator's calls can nest is bounded likewise, as its stack is
//! ours. Both are upper bounds, and schemas that people write stay far below them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

/// Visits that one place of a value may get.
const MOST_VISITS: u64 = 1_000;
/// Steps that counting may take itself, a fraction of a second.
const MOST_STEPS: usize = 500_000;
/// Levels of a value that are looked at: growth that does not show in so many is none.
const LEVELS: usize = 32;
/// Schemas in one another that apply to the same place.
const MOST_CHAINED: usize = 32;
/// Schemas in one another, references followed.
const MOST_NESTED: usize = 512;
/// Different regular expressions; their sizes are bounded one by one.
const MOST_PATTERNS: usize = 64;
/// Dialects whose references and identifiers are understood here.
const DIALECTS: &[&str] = &["draft-06/schema", "draft-07/schema", "draft/2019-09/schema", "draft/2020-12/schema"];

/// Keywords whose value is a schema for the same place.
const SAME: &[&str] = &["not", "if", "then", "else"];
/// Keywords whose value is an array or table of schemas for the same place.
const SAME_MANY: &[&str] = &["allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies"];
/// Keywords whose value is a schema for places below.
const BELOW: &[(&str, Place<'static>)] = &[
    ("additionalItems", Place::Element),
    ("additionalProperties", Place::Member),
    ("contains", Place::Element),
    ("items", Place::Element),
    ("propertyNames", Place::Name),
    ("unevaluatedItems", Place::Element),
    ("unevaluatedProperties", Place::Member),
];

/// Which places below a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place<'s> {
    /// Any element of an array.
    Element,
    /// The element of this index.
    Index(usize),
    /// Any member of an object.
    Member,
    /// The member with this key.
    Key(&'s str),
    /// The keys themselves.
    Name,
}

/// Why a schema is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CostError {
    #[error("`$ref` \"{0}\" is not to a place in the schema itself (`#` or `#/…`)")]
    Reference(String),
    #[error("`$ref` \"{0}\" leads to nothing")]
    Dangling(String),
    #[error("`{0}` is not supported")]
    Unsupported(&'static str),
    #[error("`$schema` \"{0}\" is not supported")]
    Dialect(String),
    #[error("its references lead in a circle without going deeper into the value")]
    Circle,
    #[error("it is nested too deeply, references followed")]
    Nested,
    #[error("it has more than {MOST_PATTERNS} patterns")]
    Patterns,
    #[error("it could take more than {MOST_VISITS} steps to check one place of a value")]
    Visits,
}

/// What a schema can cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// Most visits that one place of a value can get.
    pub(super) visits: u64,
    /// Different regular expressions.
    pub(super) patterns: usize,
}

/// Refuses a schema that can be too costly; tells what it costs. Its own depth is bounded: it was parsed by serde_json.
pub(super) fn check(root: &Value) -> Result<Cost, CostError> {
    if let Some(dialect) = root.get("$schema") {
        let known = dialect.as_str().is_some_and(|uri| DIALECTS.contains(&dialect_name(uri)));
        if !known {
            return Err(CostError::Dialect(cut(dialect.as_str().unwrap_or("…"))));
        }
    }
    let mut patterns = BTreeSet::new();
    refuse_identifiers(root, true, &mut patterns)?;
    let patterns = patterns.len();
    if patterns > MOST_PATTERNS {
        return Err(CostError::Patterns);
    }
    let mut graph = Graph { root, places: HashMap::new(), nodes: Vec::new(), references: Vec::new() };
    graph.build()?;
    Ok(Cost { visits: graph.count_visits()?, patterns })
}

fn dialect_name(uri: &str) -> &str {
    let path = uri.strip_prefix("https://json-schema.org/").or(uri.strip_prefix("http://json-schema.org/"));
    path.unwrap_or(uri).trim_end_matches('#')
}

/// Refuses identifiers below the root, which would change what references mean, and gathers regular expressions.
fn refuse_identifiers<'s>(value: &'s Value, is_root: bool, patterns: &mut BTreeSet<&'s str>) -> Result<(), CostError> {
    match value {
        Value::Object(members) => {
            if !is_root && members.get("$id").is_some_and(Value::is_string) {
                return Err(CostError::Unsupported("$id"));
            }
            for unsupported in ["$dynamicRef", "$recursiveRef"] {
                if members.get(unsupported).is_some_and(Value::is_string) {
                    return Err(CostError::Unsupported(unsupported));
                }
            }
            patterns.extend(members.get("pattern").and_then(Value::as_str));
            if let Some(Value::Object(by_pattern)) = members.get("patternProperties") {
                patterns.extend(by_pattern.keys().map(String::as_str));
            }
            members.values().try_for_each(|member| refuse_identifiers(member, false, patterns))
        }
        Value::Array(items) => items.iter().try_for_each(|item| refuse_identifiers(item, false, patterns)),
        _ => Ok(()),
    }
}

/// The schemas in a schema, each once; the root is the first.
struct Graph<'s> {
    root: &'s Value,
    /// Schemas known, by the address of their value, which does not move while the graph lives.
    places: HashMap<*const Value, usize>,
    nodes: Vec<Node<'s>>,
    /// References found: from which schema to what.
    references: Vec<(usize, &'s Value)>,
}

/// One schema.
#[derive(Default)]
struct Node<'s> {
    /// Those it applies to the same place.
    same: Vec<usize>,
    /// How often it does: twice, where what they looked at must be known.
    times: u64,
    /// Those it applies below.
    below: Vec<(Place<'s>, usize)>,
    /// Schemas in one another from here, references not followed.
    height: usize,
}

impl<'s> Graph<'s> {
    fn build(&mut self) -> Result<(), CostError> {
        self.add(self.root)?;
        let mut targets = BTreeSet::from([0]);
        let mut next = 0;
        while let Some(&(from, target)) = self.references.get(next) {
            next += 1;
            let target = self.add(target)?;
            self.nodes[from].same.push(target);
            targets.insert(target);
        }
        // No way through the schema enters a target twice before it goes round, so this bounds every way.
        let nested: usize = targets.iter().map(|&target| self.nodes[target].height).sum();
        if nested > MOST_NESTED { Err(CostError::Nested) } else { Ok(()) }
    }

    fn add(&mut self, schema: &'s Value) -> Result<usize, CostError> {
        if let Some(&index) = self.places.get(&std::ptr::from_ref(schema)) {
            return Ok(index);
        }
        let index = self.nodes.len();
        self.places.insert(schema, index);
        self.nodes.push(Node::default());
        let mut node = Node { times: 1, ..Node::default() };
        if let Value::Object(keywords) = schema {
            if let Some(Value::String(reference)) = keywords.get("$ref") {
                self.references.push((index, self.resolve(reference)?));
            }
            self.add_same(keywords, &mut node)?;
            self.add_below(keywords, &mut node)?;
        }
        let children = node.same.iter().chain(node.below.iter().map(|(_, child)| child));
        node.height = 1 + children.map(|&child| self.nodes[child].height).max().unwrap_or(0);
        self.nodes[index] = node;
        Ok(index)
    }

    fn add_same(&mut self, keywords: &'s Map<String, Value>, node: &mut Node<'s>) -> Result<(), CostError> {
        if keywords.contains_key("unevaluatedProperties") || keywords.contains_key("unevaluatedItems") {
            node.times = 2;
        }
        let single = SAME.iter().filter_map(|keyword| keywords.get(*keyword));
        let many = SAME_MANY.iter().flat_map(|keyword| elements(keywords.get(*keyword)));
        for schema in single.chain(many) {
            node.same.push(self.add(schema)?);
        }
        Ok(())
    }

    fn add_below(&mut self, keywords: &'s Map<String, Value>, node: &mut Node<'s>) -> Result<(), CostError> {
        let mut below = Vec::new();
        for (keyword, place) in BELOW {
            match keywords.get(*keyword) {
                // A tuple, as drafts before 2020-12 write it.
                Some(Value::Array(schemas)) => {
                    below.extend(schemas.iter().enumerate().map(|(index, schema)| (Place::Index(index), schema)));
                }
                Some(schema) => below.push((*place, schema)),
                None => {}
            }
        }
        let tuple = elements(keywords.get("prefixItems")).into_iter().enumerate();
        below.extend(tuple.map(|(index, schema)| (Place::Index(index), schema)));
        below.extend(elements(keywords.get("patternProperties")).into_iter().map(|schema| (Place::Member, schema)));
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            below.extend(properties.iter().map(|(key, schema)| (Place::Key(key), schema)));
        }
        for (place, schema) in below {
            node.below.push((place, self.add(schema)?));
        }
        Ok(())
    }

    fn resolve(&self, reference: &str) -> Result<&'s Value, CostError> {
        let pointer = reference.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let pointer = percent_decoded(pointer.ok_or_else(|| CostError::Reference(cut(reference)))?);
        self.root.pointer(&pointer).ok_or_else(|| CostError::Dangling(cut(reference)))
    }

    fn count_visits(&self) -> Result<u64, CostError> {
        let order = self.order()?;
        let mut rank = vec![0; order.len()];
        for (position, &index) in order.iter().enumerate() {
            rank[index] = position;
        }
        let mut counter = Counter { graph: self, order, rank, steps: 0, most: 0 };
        let root = counter.settle(&Visits::from([(counter.rank[0], 1)]))?;
        let mut known = BTreeSet::from([root.clone()]);
        let mut level = vec![root];
        for _ in 0..LEVELS {
            let mut below = Vec::new();
            for visits in &level {
                for visits in counter.below(visits)? {
                    if known.insert(visits.clone()) {
                        below.push(visits);
                    }
                }
            }
            level = below;
        }
        Ok(counter.most)
    }

    /// The schemas so that each comes before those it applies to the same place.
    fn order(&self) -> Result<Vec<usize>, CostError> {
        let mut incoming = vec![0_usize; self.nodes.len()];
        for &target in self.nodes.iter().flat_map(|node| &node.same) {
            incoming[target] += 1;
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).filter(|index| incoming[*index] == 0).collect();
        let mut chained = vec![1; self.nodes.len()];
        let mut next = 0;
        while let Some(&index) = order.get(next) {
            next += 1;
            for &target in &self.nodes[index].same {
                chained[target] = chained[target].max(chained[index] + 1);
                incoming[target] -= 1;
                if incoming[target] == 0 {
                    order.push(target);
                }
            }
        }
        if order.len() < self.nodes.len() {
            Err(CostError::Circle)
        } else if chained.iter().any(|chained| *chained > MOST_CHAINED) {
            Err(CostError::Nested)
        } else {
            Ok(order)
        }
    }
}

/// Visits of schemas, by their rank in the order.
type Visits = BTreeMap<usize, u64>;

/// Counts the visits that places of a value can get.
struct Counter<'g, 's> {
    graph: &'g Graph<'s>,
    order: Vec<usize>,
    /// Position of each schema in the order.
    rank: Vec<usize>,
    /// Steps taken so far.
    steps: usize,
    /// Most visits of one place so far.
    most: u64,
}

impl<'s> Counter<'_, 's> {
    /// All visits of a place whose first visits are these.
    fn settle(&mut self, first: &Visits) -> Result<Visits, CostError> {
        let mut waiting = first.clone();
        let mut settled = Visits::new();
        let mut sum = 0_u64;
        // What a schema applies has a higher rank, so the lowest one waiting gets no further visits.
        while let Some((rank, visits)) = waiting.pop_first() {
            settled.insert(rank, visits);
            sum = sum.saturating_add(visits);
            let node = &self.graph.nodes[self.order[rank]];
            self.steps += 1 + node.same.len();
            if sum > MOST_VISITS || self.steps > MOST_STEPS {
                return Err(CostError::Visits);
            }
            for &target in &node.same {
                add(&mut waiting, self.rank[target], visits.saturating_mul(node.times));
            }
        }
        self.most = self.most.max(sum);
        Ok(settled)
    }

    /// The visits of each place below a place with these.
    fn below(&mut self, visits: &Visits) -> Result<Vec<Visits>, CostError> {
        let mut first: BTreeMap<Place<'s>, Visits> = BTreeMap::new();
        for (&rank, &visits) in visits {
            let below = &self.graph.nodes[self.order[rank]].below;
            self.steps += below.len();
            for &(place, target) in below {
                add(first.entry(place).or_default(), self.rank[target], visits);
            }
        }
        let mut all = Vec::new();
        for (place, visits) in &first {
            let mut visits = visits.clone();
            // A place of its own gets what is for every place of the kind as well.
            let general = match place {
                Place::Index(_) => first.get(&Place::Element),
                Place::Key(_) => first.get(&Place::Member),
                Place::Element | Place::Member | Place::Name => None,
            };
            for (&rank, &further) in general.into_iter().flatten() {
                add(&mut visits, rank, further);
            }
            all.push(self.settle(&visits)?);
        }
        Ok(all)
    }
}

fn add(visits: &mut Visits, rank: usize, further: u64) {
    let visits = visits.entry(rank).or_default();
    *visits = visits.saturating_add(further);
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The schemas in an array or table of schemas.
fn elements(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(schemas)) => schemas.iter().collect(),
        Some(Value::Object(schemas)) => schemas.values().collect(),
        _ => Vec::new(),
    }
}

/// A fragment of a reference with `%XX` decoded. What does not decode stays as it is and is found nowhere.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| after.get(..2)).flatten();
        let decoded = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
