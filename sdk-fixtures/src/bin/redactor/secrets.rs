//! What looks like a secret.
//!
//! Well-known forms of keys and tokens, found by how they begin, and private keys in PEM. Takes time in proportion to the
//! text, whatever it is.

/// What stands in a secret's place.
pub(crate) const REPLACEMENT: &str = "[redacted]";

/// A form of secret: how it begins, and how many characters follow at least.
struct Form {
    start: &'static str,
    least: usize,
}

const FORMS: [Form; 17] = [
    form("sk-", 20),
    form("sk_live_", 16),
    form("rk_live_", 16),
    form("ghp_", 30),
    form("gho_", 30),
    form("ghu_", 30),
    form("ghs_", 30),
    form("github_pat_", 30),
    form("glpat-", 20),
    form("xoxb-", 20),
    form("xoxp-", 20),
    form("xapp-", 20),
    form("AKIA", 16),
    form("ASIA", 16),
    form("AIza", 30),
    form("npm_", 30),
    form("eyJ", 40),
];

const fn form(start: &'static str, least: usize) -> Form {
    Form { start, least }
}

const PEM_START: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
const PEM_KEY: &str = "PRIVATE KEY-----";
/// Longest first or last line of a private key, in characters.
const MOST_HEAD: usize = 64;

/// The text with every secret replaced. `None`: it has none.
pub(crate) fn redact(text: &str) -> Option<String> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < text.len() {
        match secret_at(text, at) {
            Some(end) => {
                out.push_str(&text[copied..at]);
                out.push_str(REPLACEMENT);
                (copied, at) = (end, end);
            }
            // A token that is none is passed over whole: nothing begins within it.
            None => at = next_start(text, at),
        }
    }
    (copied > 0).then(|| {
        out.push_str(&text[copied..]);
        out
    })
}

/// Where the secret that begins here ends.
fn secret_at(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    if rest.starts_with(PEM_START) {
        return pem(rest).map(|length| at + length);
    }
    let form = FORMS.iter().find(|form| rest.starts_with(form.start))?;
    let token = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
    (token >= form.start.len() + form.least).then_some(at + token)
}

/// Length of a private key, to its end line or, if that is missing, of all that follows.
fn pem(text: &str) -> Option<usize> {
    // Only the first line, and of that no more than a head can have.
    let line = text.char_indices().take(MOST_HEAD).take_while(|(_, c)| *c != '\n');
    let line = line.last().map_or(0, |(at, last)| at + last.len_utf8());
    let head = text[..line].find(PEM_KEY)? + PEM_KEY.len();
    let Some(end) = text[head..].find(PEM_END).map(|end| head + end) else { return Some(text.len()) };
    let tail = &text[end..];
    let key = tail.find(PEM_KEY).filter(|at| *at < MOST_HEAD);
    Some(key.map_or(text.len(), |at| end + at + PEM_KEY.len()))
}

/// Where the next token or private key can begin.
fn next_start(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let mut chars = rest.char_indices();
    let Some((_, first)) = chars.next() else { return text.len() };
    if !is_token(first) {
        return at + first.len_utf8();
    }
    let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
    // Dashes before a private key are part of the token before it.
    rest[..end].find(PEM_START.trim_end()).filter(|pem| *pem > 0).map_or(at + end, |pem| at + pem)
}

/// A character of keys and tokens.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced_and_nothing_else() {
        let key = "a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8i9J0";
        for (text, expected) in [
            (format!("key=sk-{key}, next"), "key=[redacted], next".to_owned()),
            (format!("\"ghp_{key}\""), "\"[redacted]\"".to_owned()),
            (format!("AKIA{} and AKIA{}", &key[..16], &key[..16]), "[redacted] and [redacted]".to_owned()),
            (format!("Bearer eyJ{key}.eyJ{key}.x_y"), "Bearer [redacted]".to_owned()),
            (format!("é sk-{key}é"), "é [redacted]é".to_owned()),
            (
                "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb".to_owned(),
                "a\n[redacted]\nb".to_owned(),
            ),
            ("x-----BEGIN PRIVATE KEY-----\nMIIE".to_owned(), "x[redacted]".to_owned()),
        ] {
            assert_eq!(redact(&text), Some(expected), "{text}");
        }
    }

    #[test]
    fn ordinary_text_stays() {
        for text in [
            "",
            "sk-short",
            "task-runner-configuration-of-the-build",
            "a disk-encryption-key-management-service",
            "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
            "-----BEGIN ",
            "AKIAABC",
            "eyJ0",
            "npm_config_cache",
            "éàü ----- -----",
        ] {
            assert_eq!(redact(text), None, "{text}");
        }
    }

    #[test]
    fn a_long_text_takes_time_in_proportion_to_it() {
        let started = std::time::Instant::now();
        for part in ["-", "sk-", "-----BEGIN ", "a", "é", "-----BEGIN RSA PRIVATE KEY-----\n", "eyJ "] {
            let text = part.repeat(400_000 / part.len());
            drop(redact(&text));
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
