use std::collections::BTreeMap;
use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::*;

/// What serde_json reads, with every key kept.
#[derive(Debug)]
enum Tree {
    Leaf,
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn keeps(&self, limits: &ValueLimits, depth: u32) -> bool {
        let short = |text: &str| text.encode_utf16().count() <= limits.max_characters as usize;
        depth <= limits.max_depth
            && match self {
                Self::Leaf => true,
                Self::Text(text) => short(text),
                Self::Array(items) => items.iter().all(|item| item.keeps(limits, depth + 1)),
                Self::Object(members) => {
                    let keys: BTreeMap<_, _> = members.iter().map(|(key, _)| (key, ())).collect();
                    keys.len() == members.len()
                        && keys.len() <= limits.max_keys as usize
                        && members.iter().all(|(key, value)| short(key) && value.keeps(limits, depth + 1))
                }
            }
    }

    fn nodes(&self) -> u32 {
        1 + match self {
            Self::Leaf | Self::Text(_) => 0,
            Self::Array(items) => items.iter().map(Self::nodes).sum(),
            Self::Object(members) => members.iter().map(|(_, value)| value.nodes()).sum(),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut tree = Vec::new();
                while let Some(item) = items.next_element()? {
                    tree.push(item);
                }
                Ok(Tree::Array(tree))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
                let mut tree = Vec::new();
                while let Some(member) = members.next_entry()? {
                    tree.push(member);
                }
                Ok(Tree::Object(tree))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

const SMALL: ValueLimits = ValueLimits {
    max_bytes: 4_096,
    max_depth: 4,
    max_nodes: 24,
    max_keys: 4,
    max_characters: 12,
    must_be_object: false,
};

fn agrees(text: &[u8], limits: &ValueLimits) {
    let tree = serde_json::from_slice::<Tree>(text);
    let expected = text.len() <= limits.max_bytes
        && tree.as_ref().is_ok_and(|tree| tree.keeps(limits, 0) && tree.nodes() <= limits.max_nodes);
    let found = validate_value(text, limits);
    assert_eq!(found.is_ok(), expected, "{found:?} but {tree:?} for {:?}", String::from_utf8_lossy(text));
}

fn json() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", "", " ", "\n", "\t\r "]);
    let string = || {
        let piece = prop_oneof![
            4 => "[a-c]{0,3}",
            1 => prop::sample::select(vec!["é", "€", "😀", "\\n", "\\u0061", "\\u00e9", "\\ud83d\\ude00", "\\\"", "\\\\"])
                .prop_map(str::to_owned),
            1 => prop::sample::select(vec!["\\ud83d", "\\ude00", "\\x", "\u{1}", "\\u12"]).prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
    };
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        prop::sample::select(vec!["-0", "0.5", "1e5", "1E+400", "1e-400", "01", "1.", ".5", "-", "+1", "NaN"])
            .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![string(), number, Just("true".to_owned()), Just("null".to_owned()), Just("fals".to_owned())];
    leaf.prop_recursive(6, 32, 6, move |inner| {
        let items = prop::collection::vec((space(), inner.clone(), space()), 0..6).prop_map(|items| {
            let items: Vec<_> = items.iter().map(|(a, b, c)| format!("{a}{b}{c}")).collect();
            format!("[{}]", items.join(","))
        });
        let members = prop::collection::vec((space(), string(), space(), inner), 0..6).prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(a, b, c, d)| format!("{a}{b}{c}:{a}{d}{c}")).collect();
            format!("{{{}}}", members.join(","))
        });
        prop_oneof![items, members]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn accepts_what_serde_json_accepts_less_the_rules(text in json()) {
        agrees(text.as_bytes(), &ValueLimits::default());
        agrees(text.as_bytes(), &SMALL);
    }

    #[test]
    fn accepts_the_same_of_damaged_texts(text in json(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let mut text = text.into_bytes();
        let at = at.index(text.len());
        match how {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            _ => { text.remove(at); }
        }
        agrees(&text, &ValueLimits::default());
        agrees(&text, &SMALL);
    }

    #[test]
    fn random_bytes_do_no_harm(left in prop::collection::vec(any::<u8>(), 0..64), right in json()) {
        agrees(&left, &SMALL);
        let _ = shallow_merge(&left, right.as_bytes());
        let _ = shallow_merge(right.as_bytes(), &left);
    }

    #[test]
    fn many_keys_are_compared_by_meaning(
        keys in prop::collection::vec("(a|b|\\\\u0061|prefixed_|\\\\u00e9|é|\\\\u0000){0,4}", 0..40),
    ) {
        let members: Vec<_> = keys.iter().map(|key| format!("\"{key}\":0")).collect();
        agrees(format!("{{{}}}", members.join(",")).as_bytes(), &ValueLimits::payload(PAYLOAD_DEPTH));
    }

    #[test]
    fn merges_as_maps_do(
        base in prop::collection::btree_map("[a-c\"\\\\é]{0,2}", 0..9u8, 0..6),
        over in prop::collection::btree_map("[a-c\"\\\\é]{0,2}", 0..9u8, 0..6),
    ) {
        let text = |map: &BTreeMap<String, u8>| serde_json::to_vec(map).expect("a map of numbers");
        let merged = shallow_merge(&text(&base), &text(&over)).expect("both are objects");
        let mut expected = base;
        expected.extend(over);
        prop_assert_eq!(serde_json::from_slice::<BTreeMap<String, u8>>(&merged).expect("an object"), expected);
        prop_assert_eq!(validate_payload(&merged, PAYLOAD_DEPTH), Ok(()));
    }
}

#[test]
fn each_rule_names_itself_and_its_place() {
    let value =
        |text: &str| validate_value(text.as_bytes(), &ValueLimits::default()).map_err(|error| error.to_string());
    let cases = [
        ("", "accept JSON at byte 0: the text is not JSON, a value is wanted here"),
        ("{\"a\":1,\"\\u0061\":2}", "accept JSON at byte 7: an object has this key twice"),
        ("[\"\\ud800\"]", "accept JSON at byte 2: a surrogate stands alone"),
        ("[1e999]", "accept JSON at byte 1: a number is beyond what a 64-bit float holds"),
        ("[1 2]", "accept JSON at byte 3: the text is not JSON, `,` or `]` is wanted here"),
        ("{\"a\" 1}", "accept JSON at byte 5: the text is not JSON, `:` is wanted here"),
        ("{a:1}", "accept JSON at byte 1: the text is not JSON, a key is wanted here"),
        ("{\"a\":1,}", "accept JSON at byte 7: the text is not JSON, a key is wanted here"),
        ("1 1", "accept JSON at byte 2: the text is not JSON, the end is wanted here"),
        ("\"a", "accept JSON at byte 2: the text is not JSON, the end of the string is wanted here"),
        (
            "\"\t\"",
            "accept JSON at byte 1: the text is not JSON, an escape in place of a control character is wanted here",
        ),
        ("\"\\x\"", "accept JSON at byte 1: the text is not JSON, an escape that JSON knows is wanted here"),
        (
            "\"\\u00g0\"",
            "accept JSON at byte 1: the text is not JSON, an escape with four hexadecimal digits is wanted here",
        ),
        ("-", "accept JSON at byte 1: the text is not JSON, a digit is wanted here"),
    ];
    for (text, message) in cases {
        assert_eq!(value(text), Err(message.to_owned()), "{text}");
    }
    let not_utf8 = validate_payload(b"\"a\xff\"", PAYLOAD_DEPTH).expect_err("not UTF-8");
    assert_eq!(not_utf8.to_string(), "accept JSON at byte 2: the text is not UTF-8");
    let array = validate_value(b" []", &ValueLimits::default().object()).expect_err("an array");
    assert_eq!(array.to_string(), "accept JSON at byte 1: the root is not an object");
    assert_eq!(validate_value(b" {}", &ValueLimits::default().object()), Ok(()));
}

/// Every bound holds exactly at its number.
#[test]
fn bounds_are_exact() {
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let items = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    let keys = |count: usize| {
        let members: Vec<_> = (0..count).map(|index| format!("\"{index}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    let string = |count: usize, unit: &str| format!("\"{}\"", unit.repeat(count));
    let cases = [
        (nested(32, "1"), nested(33, "1"), Rule::Depth(32)),
        (nested(33, ""), nested(34, ""), Rule::Depth(32)),
        (items(4_095), items(4_096), Rule::Nodes(4_096)),
        (keys(512), keys(513), Rule::Keys(512)),
        (string(65_536, "a"), string(65_537, "a"), Rule::Characters(65_536)),
        (string(65_536, "é"), string(65_537, "é"), Rule::Characters(65_536)),
        (string(32_768, "😀"), string(32_769, "😀"), Rule::Characters(65_536)),
        (string(32_768, "\\n\\/"), string(32_769, "\\n\\/"), Rule::Characters(65_536)),
        (string(10_922, "\\u0061\\u0062"), string(65_537, "\\t"), Rule::Characters(65_536)),
        (" ".repeat(262_143) + "0", " ".repeat(262_144) + "0", Rule::Bytes(262_144)),
    ];
    for (good, bad, rule) in cases {
        assert_eq!(validate_value(good.as_bytes(), &ValueLimits::default()), Ok(()), "{rule}");
        assert_eq!(
            validate_value(bad.as_bytes(), &ValueLimits::default()).map_err(|error| error.rule),
            Err(rule),
            "{rule}"
        );
    }
    assert_eq!(validate_payload(nested(128, "1").as_bytes(), PAYLOAD_DEPTH), Ok(()));
    assert!(validate_payload(nested(129, "1").as_bytes(), PAYLOAD_DEPTH).is_err());
}

/// Texts made to be slow or deep end soon all the same: each of these is 3 MiB.
#[test]
fn hostile_payloads_end() {
    let deep = "[".repeat(3 << 20);
    assert_eq!(validate_payload(deep.as_bytes(), PAYLOAD_DEPTH).map_err(|error| error.offset), Err(129));
    let escaped_keys: Vec<_> = (0..150_000).map(|index| format!("\"\\u0061common{index:06}\":0")).collect();
    assert_eq!(validate_payload(format!("{{{}}}", escaped_keys.join(",")).as_bytes(), PAYLOAD_DEPTH), Ok(()));
    let digits = format!("[0.{}]", "1".repeat(3 << 20));
    assert_eq!(validate_payload(digits.as_bytes(), PAYLOAD_DEPTH), Ok(()));
    let whole = "9".repeat(3 << 20);
    assert_eq!(validate_payload(whole.as_bytes(), PAYLOAD_DEPTH).map_err(|error| error.rule), Err(Rule::Number));
}

#[test]
fn a_merge_keeps_values_as_written() {
    let merged =
        shallow_merge(br#" { "a" : 1.0, "b":{"x": 1}, "c":[1 ] } "#, br#"{"b": 1e2 ,"d":"\u00e9","\u0061":null}"#);
    assert_eq!(merged.as_deref(), Ok(&br#"{"\u0061":null,"b":1e2,"c":[1 ],"d":"\u00e9"}"#[..]));
    assert_eq!(shallow_merge(b"{}", b" { } ").as_deref(), Ok(&b"{}"[..]));
    assert_eq!(shallow_merge(b"{}", b"[]").map_err(|error| error.rule), Err(Rule::NotAnObject));
    assert!(shallow_merge(b"{}", b"{} x").is_err());
    let deepest = format!("{{\"a\":{}1{}}}", "[".repeat(127), "]".repeat(127));
    assert_eq!(shallow_merge(b"{}", deepest.as_bytes()).as_deref(), Ok(deepest.as_bytes()));
}

#[test]
fn a_member_that_is_looked_for_is_told_with_where_it_stands() {
    let find = |text: &str| {
        let found = validate_members(text.as_bytes(), &ValueLimits::default(), "params", &["prompt"]).expect("JSON");
        (found.first.map(|place| text[place].to_owned()), found.others)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(find(r#"{"params": {"a":[1, {"params":0}]} , "x":1}"#), (some(r#"{"a":[1, {"params":0}]}"#), false));
    assert_eq!(find(r#" { "prompt":1, "\u0070arams" : 12 } "#), (some("12"), true));
    assert_eq!(find(r#"{"params":"é\"}"}"#), (some(r#""é\"}""#), false));
    assert_eq!(find(r#"{"a":{"params":1,"prompt":2}}"#), (None, false));
    assert_eq!(find(r#"[{"params":1}]"#), (None, false));
    assert_eq!(find("{}"), (None, false));
}
