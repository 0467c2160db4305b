//! Takes a shell's command line apart, as far as a guard needs it: quotes, escapes, operators, redirections and
//! substitutions. Nothing is expanded; what is not closed ends with the text.

use std::iter::Peekable;
use std::str::Chars;

/// One program call.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Simple {
    /// The program and its arguments, quotes removed.
    pub(crate) words: Vec<String>,
    /// Files it writes to by `>` and its kin.
    pub(crate) outputs: Vec<String>,
    /// Scripts run for it: `$(…)`, `` `…` ``, `<(…)`.
    pub(crate) nested: Vec<String>,
    /// It reads what the one before it writes.
    pub(crate) piped: bool,
    /// That is not one call but a group, of which the call before is only the last.
    pub(crate) piped_from_group: bool,
    /// It reads from a file or text.
    pub(crate) redirected: bool,
}

/// The program calls of a script, in order.
pub(crate) fn parse(script: &str) -> Vec<Simple> {
    let mut parser = Parser {
        chars: script.chars().peekable(),
        done: Vec::new(),
        now: Simple::default(),
        word: None,
        redirect: Redirect::No,
    };
    while let Some(c) = parser.chars.next() {
        parser.step(c);
    }
    parser.end_command(false);
    parser.done
}

struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
    done: Vec<Simple>,
    now: Simple,
    word: Option<String>,
    /// What the next word is.
    redirect: Redirect,
}

#[derive(PartialEq)]
enum Redirect {
    No,
    In,
    Out,
}

impl Parser<'_> {
    fn step(&mut self, c: char) {
        match c {
            ' ' | '\t' | '\r' => self.end_word(),
            '\n' | ';' | '(' | ')' => self.end_command(false),
            // `2>&1` and `&>file`.
            '&' if self.redirect != Redirect::No && self.word.is_none() => self.push('&'),
            '&' if self.eat('>') => self.redirect(Redirect::Out),
            '&' => {
                self.eat('&');
                self.end_command(false);
            }
            '|' => {
                let or = self.eat('|');
                self.eat('&');
                self.end_command(!or);
            }
            '<' | '>' if self.eat('(') => self.nest(')'),
            '<' => {
                while self.eat('<') {}
                self.redirect(Redirect::In);
            }
            '>' => {
                while self.eat('>') || self.eat('|') {}
                self.redirect(Redirect::Out);
            }
            '#' if self.word.is_none() => while self.chars.next_if(|c| *c != '\n').is_some() {},
            '\'' => self.quoted('\''),
            '"' => self.quoted('"'),
            '\\' => match self.chars.next() {
                Some('\n') | None => {}
                Some(c) => self.push(c),
            },
            '`' => self.nest('`'),
            '$' if self.eat('(') => self.nest(')'),
            '$' if self.eat('\'') => self.quoted('\''),
            c => self.push(c),
        }
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.chars.next_if_eq(&wanted).is_some()
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn quoted(&mut self, quote: char) {
        self.word.get_or_insert_default();
        while let Some(c) = self.chars.next() {
            match c {
                c if c == quote => return,
                '\\' if quote == '"' => match self.chars.next() {
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.push(c),
                    Some('\n') | None => {}
                    Some(c) => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                '`' if quote == '"' => self.nest('`'),
                '$' if quote == '"' && self.eat('(') => self.nest(')'),
                c => self.push(c),
            }
        }
    }

    /// Takes the script of a substitution out of the text. Its place in the word is marked.
    fn nest(&mut self, close: char) {
        let mut script = String::new();
        let (mut depth, mut quote) = (0, None);
        while let Some(c) = self.chars.next() {
            match c {
                '\\' => {
                    script.push(c);
                    script.extend(self.chars.next());
                    continue;
                }
                '\'' | '"' if quote == Some(c) => quote = None,
                '\'' | '"' if quote.is_none() => quote = Some(c),
                c if c == close && depth == 0 && quote.is_none() => break,
                '(' if quote.is_none() => depth += 1,
                ')' if quote.is_none() => depth -= 1,
                _ => {}
            }
            script.push(c);
        }
        self.now.nested.push(script);
        self.word.get_or_insert_default().push_str("$()");
    }

    fn redirect(&mut self, redirect: Redirect) {
        // The number before it is a descriptor and no argument.
        if self.word.as_ref().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit())) {
            self.word = None;
        }
        self.end_word();
        self.redirect = redirect;
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        match std::mem::replace(&mut self.redirect, Redirect::No) {
            Redirect::No => self.now.words.push(word),
            Redirect::Out => self.now.outputs.push(word),
            Redirect::In => self.now.redirected = true,
        }
    }

    fn end_command(&mut self, pipe: bool) {
        self.end_word();
        self.redirect = Redirect::No;
        let ended = std::mem::replace(&mut self.now, Simple { piped: pipe, ..Simple::default() });
        if !ended.words.is_empty() || !ended.outputs.is_empty() || !ended.nested.is_empty() {
            self.done.push(ended);
        } else {
            // Nothing stood there, as in `a | (b)`: what follows takes its place. As in `(a) | b`, too.
            self.now.piped |= ended.piped;
            self.now.piped_from_group = pipe || ended.piped_from_group;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<Vec<String>> {
        parse(script).into_iter().map(|simple| simple.words).collect()
    }

    #[test]
    fn operators_part_commands() {
        assert_eq!(
            words("a 1;b&&c || d & e\nf"),
            [vec!["a", "1"], vec!["b"], vec!["c"], vec!["d"], vec!["e"], vec!["f"]]
        );
        let piped: Vec<_> = parse("a | b |& c || d | (e)").iter().map(|simple| simple.piped).collect();
        assert_eq!(piped, [false, true, true, false, true]);
    }

    #[test]
    fn quotes_and_escapes_are_taken_off() {
        assert_eq!(words(r#"r'm' "-r"f \/ 'a b' "x\"y" # c"#), [vec!["rm", "-rf", "/", "a b", "x\"y"]]);
        assert_eq!(words("echo 'a;b' \"c|d\" ''"), [vec!["echo", "a;b", "c|d", ""]]);
        assert_eq!(words("echo 'open ; x"), [vec!["echo", "open ; x"]]);
    }

    #[test]
    fn redirections_are_no_arguments() {
        let simple = &parse("a x 2>&1 >out >>more <in &>all 2>err")[0];
        assert_eq!(simple.words, ["a", "x"]);
        assert_eq!(simple.outputs, ["&1", "out", "more", "all", "err"]);
    }

    #[test]
    fn substitutions_are_scripts_of_their_own() {
        let simple = &parse(r#"a "$(b "$(c)")" `d` <(e) $(f ')')"#)[0];
        assert_eq!(simple.nested, ["b \"$(c)\"", "d", "e", "f ')'"]);
        assert_eq!(simple.words.len(), 5);
    }
}
