//! Defines which part of a line of a file may be shown in an error, so that no password reaches a screen or a log; it is careful rather than exact.

use std::net::Ipv6Addr;

use toml::de::{DeTable, DeValue};

use super::nearest::distance;

/// What is known of a file whose lines may hold secrets: the keys whose values may be shown.
#[derive(Clone, Copy)]
pub(crate) struct Redaction {
    pub shown: &'static [&'static [&'static str]],
}

/// A key that contains one of these may stand before a secret.
const SECRET: [&str; 10] =
    ["pass", "secret", "token", "key", "proxy", "header", "cookie", "credential", "bearer", "authorization"];
/// Words that may do so even if they are mistyped, with how many letters may be wrong.
const MISTYPED: [(&str, usize); 7] =
    [("password", 2), ("secret", 2), ("token", 1), ("proxy", 1), ("headers", 2), ("cookie", 1), ("authorization", 3)];

/// Lines that are looked back at; in a longer table nothing is shown.
const LOOK_BACK: usize = 1_000;

impl Redaction {
    /// Where the part of `line` begins that must be hidden, in bytes; `None` where all of it may be
    /// seen. `line_start` is the line's place in `text`; where the text `is_toml`, a key is a key.
    pub(crate) fn hides(&self, text: &str, line_start: usize, line: &str, is_toml: bool) -> Option<usize> {
        let before = &text[..line_start];
        if inside_string(before) || follows_open_secret(before) {
            return Some(0);
        }
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code.is_empty() {
            return None;
        }
        // A header has no value; but a mistyped one may be anything.
        if code.starts_with('[') && !code.contains(['=', '"', '\'']) {
            return may_hold_secret(code).then_some(0);
        }
        // An item of a list that stands on a line of its own, all of whose keys are known.
        if is_toml && code.starts_with('{') && self.knows_item(code) && !may_hold_secret(code) && !has_odd_url(code) {
            return None;
        }
        let key = &code[..code.find(|c: char| !is_word(c)).unwrap_or(code.len())];
        let last = key.rsplit('.').next().unwrap_or(key);
        let is_known = self.shown.iter().any(|keys| keys.contains(&last));
        let rest = &code[key.len()..];
        let behind_key = match rest.find('=') {
            Some(at) if rest[..at].trim().is_empty() => key.len() + at + 1,
            _ if SECRET.iter().any(|s| last.contains(s)) && is_known => key.len(),
            _ => 0,
        };
        if !is_known || may_hold_secret(code) || has_odd_url(code) {
            let is_key = is_known || is_toml || may_hold_secret(key);
            return Some(if is_key { indent + behind_key } else { 0 });
        }
        None
    }
}

impl Redaction {
    /// Whether a line is a whole inline table of keys whose values may be shown.
    fn knows_item(&self, code: &str) -> bool {
        let item = code.trim_end_matches([',', ']', ' ', '\t']);
        let text = format!("item = {item}");
        let Ok(table) = DeTable::parse(&text) else { return false };
        table.get_ref().values().all(|value| self.knows(value.get_ref()))
    }

    fn knows(&self, value: &DeValue<'_>) -> bool {
        let is_known = |key: &str| self.shown.iter().any(|keys| keys.contains(&key));
        match value {
            DeValue::Table(table) => {
                table.iter().all(|(key, value)| is_known(key.get_ref()) && self.knows(value.get_ref()))
            }
            DeValue::Array(items) => items.iter().all(|item| self.knows(item.get_ref())),
            _ => true,
        }
    }
}

/// Whether, in the same table, a line that may hold a secret is not a statement of its own: what
/// comes after it may be the rest of the secret. In a table of headers anything may be one.
fn follows_open_secret(before: &str) -> bool {
    let is_header = |line: &str| line.starts_with('[') && DeTable::parse(line).is_ok();
    let is_open = |line: &str| DeTable::parse(line).is_err() || line.ends_with("\"\"") || line.ends_with("''");
    for (i, line) in before.lines().rev().map(str::trim).enumerate() {
        if is_header(line) {
            return speaks_of(line, &["header"], &[("headers", 2)]);
        }
        let may_hold = may_hold_secret(line) || has_odd_url(line) || line.contains("url");
        if i == LOOK_BACK || (may_hold && is_open(line)) {
            return true;
        }
    }
    false
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Whether some word of the line is, or is nearly, one that goes with a secret.
fn may_hold_secret(line: &str) -> bool {
    speaks_of(line, &SECRET, &MISTYPED)
}

/// Whether the line contains one of `parts`, or a word that is one of `words` but for some letters.
fn speaks_of(line: &str, parts: &[&str], words: &[(&str, usize)]) -> bool {
    let line = line.to_lowercase();
    parts.iter().any(|part| line.contains(part))
        || line
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(|word| words.iter().any(|(known, wrong)| distance(word, known) <= *wrong))
}

/// Whether the line holds a URL with a user, who may come with a password, or one that may be meant so.
fn has_odd_url(line: &str) -> bool {
    let is_url = line.contains("//") || line.contains("url");
    let end = |text: &str| text.find(['"', '\'', ',', '}']).unwrap_or(text.len());
    let mut behind_schemes = line.split("://").skip(1);
    let value = || {
        let (key, value) = line.split_once('=')?;
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        key.trim_end().ends_with("url").then(|| value[..end(value)].trim_end())
    };
    // The path of a web page may be all that keeps others from it.
    let is_page = || ends_with_path(line, "http://") || ends_with_path(line, "https://");
    (is_url && line.contains('@'))
        || is_page()
        || behind_schemes.any(|url| !is_plain_url(url[..end(url)].trim_end()))
        || value().is_some_and(|url| !is_plain_url(url))
}

fn ends_with_path(line: &str, scheme: &str) -> bool {
    line.split(scheme).skip(1).any(|rest| {
        let url = &rest[..rest.find(['"', '\'', ',', '}', ' ']).unwrap_or(rest.len())];
        url.split_once('/').is_some_and(|(_, path)| !path.is_empty())
    })
}

/// Whether a URL, or what follows its scheme, has nothing but a host, a port and a path, so that it may
/// be repeated: where a user, a password or a token may be, it is not.
pub(crate) fn is_plain_url(text: &str) -> bool {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => ("", port),
        Some(_) => return false,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = |port: &str| port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' '))
        && (port.is_empty() || is_port(port))
        && path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '~'))
}

/// Whether a multi-line string is still open at the end of `text`.
fn inside_string(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(['#', '"', '\'']) {
        rest = &rest[at..];
        let quote = &rest[..1];
        if quote == "#" {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with(&quote.repeat(3)) {
            let open = &rest[3..];
            match closing(open, quote) {
                Some(end) => rest = &open[end..],
                None => return true,
            }
        } else {
            let line_end = rest.find('\n').unwrap_or(rest.len());
            let mut end = 1;
            while end < line_end && !rest[end..].starts_with(quote) {
                let escaped = quote == "\"" && rest[end..].starts_with('\\');
                end += if escaped { 2 } else { 1 };
                while end < line_end && !rest.is_char_boundary(end) {
                    end += 1;
                }
            }
            rest = rest.get((end + 1).min(line_end)..).unwrap_or_default();
        }
    }
    false
}

/// Where a multi-line string ends, behind its closing quotes.
fn closing(open: &str, quote: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = open[at..].find(&quote.repeat(3)) {
        let end = at + found;
        let backslashes = open[..end].bytes().rev().take_while(|b| *b == b'\\').count();
        if quote == "'" || backslashes % 2 == 0 {
            return Some(end + 3);
        }
        at = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Redaction = Redaction { shown: &[&["id", "url", "password", "proxy", "headers", "reconnect", "min"]] };

    fn shown(line: &str) -> String {
        match KNOWN.hides(line, 0, line, true) {
            Some(at) => format!("{}[redacted]", &line[..at]),
            None => line.to_owned(),
        }
    }

    #[test]
    fn a_secret_is_hidden_whatever_the_slip() {
        for (line, seen) in [
            ("password = \"hunter2\"", "password =[redacted]"),
            ("  password = \"hunter2", "  password =[redacted]"),
            ("password \"hunter2\"", "password[redacted]"),
            ("password: hunter2", "password[redacted]"),
            ("pasword = \"hunter2\"", "pasword =[redacted]"),
            ("pas sword = \"hunter2\"", "[redacted]"),
            ("\"password\" = \"hunter2\"", "[redacted]"),
            ("hunter2", "[redacted]"),
            ("sword = \"hunter2\"", "sword =[redacted]"),
            ("id = { password = \"hunter2\" }", "id =[redacted]"),
            ("url = \"mqtt://user:hunter2@host\"", "url =[redacted]"),
            ("url = \"mqtt:user:hunter2@host\"", "url =[redacted]"),
            ("url = \"mqtt://user:hunter2\"", "url =[redacted]"),
            ("url = \"mqtt:/user:hunter2\"", "url =[redacted]"),
            ("url = \"mqtt//user:hunter2\"", "url =[redacted]"),
            ("url = user:hunter2", "url =[redacted]"),
            ("url = \"user:hunter2\"", "url =[redacted]"),
            ("url = \"mqtt://user:123456\"", "url =[redacted]"),
            ("url = \"wss://host/mqtt?sig=hunter2\"", "url =[redacted]"),
            ("url = \"wss://host/mqtt#hunter2\"", "url =[redacted]"),
            ("a.url = 'user:hunter2@host'", "a.url =[redacted]"),
            ("id = \"http://user:hunter2\"", "id =[redacted]"),
            ("proxy = \"http://user:hunter2\"", "proxy =[redacted]"),
            ("proxy = \"user:hunter2\"", "proxy =[redacted]"),
            ("prxy = \"socks5://user:hunter2\"", "prxy =[redacted]"),
            ("proxy \"http://user:hunter2\"", "proxy[redacted]"),
            ("headers = { Authorization = \"hunter2\" }", "headers =[redacted]"),
            ("headers.id = \"hunter2\"", "headers.id =[redacted]"),
            ("haeders.id = \"hunter2\"", "haeders.id =[redacted]"),
            ("[headers] id = \"hunter2\"", "[redacted]"),
            ("[client] password = \"hunter2\"", "[redacted]"),
            ("[client] hunter2 = secret", "[redacted]"),
            ("{ id = 1, sword = \"hunter2\" },", "[redacted]"),
            ("{ id = 1, min = { sword = \"hunter2\" } },", "[redacted]"),
            ("{ id = \"http://user:hunter2\" },", "[redacted]"),
            ("{ id = \"hunter2", "[redacted]"),
            ("{ password = \"hunter2\" },", "[redacted]"),
        ] {
            assert_eq!(shown(line), seen);
        }
    }

    #[test]
    fn other_lines_are_shown() {
        for line in [
            "  { id = 1, min = [\"a\"] },",
            "{ id = 2 }]",
            "id = \"press-%i\"",
            "  id = 5 # five",
            "[[client]]",
            "[endpoint.a-1]",
            "",
            "reconnect.min = 5",
        ] {
            assert_eq!(shown(line), line);
        }
        for url in [
            "mqtt://a",
            "MQTT://a.example:1883/",
            "mqtt://[::1]:1883",
            "wss://a/mqtt/v5",
            "a:1883",
            "größe",
            "unix:///a",
        ] {
            let line = format!("url = \"{url}\"  # here");
            assert_eq!(shown(&line), line);
        }
    }

    #[test]
    fn the_inside_of_a_multi_line_string_is_hidden() {
        let text = "password = \"\"\"\nid = hunter2\n\"\"\"\n[[client]]\nid = 1\n";
        let at = |part: &str| text.find(part).unwrap();
        assert_eq!(KNOWN.hides(text, at("id = hunter2"), "id = hunter2", true), Some(0));
        assert_eq!(KNOWN.hides(text, at("id = 1"), "id = 1", true), None);
        let quoted = "a = \"# '''\" # \"\"\"\nb = 'é\\'\n";
        assert!(!inside_string(quoted));
        assert!(inside_string("a = \"\"\"x\\\"\"\"\ny"));
    }

    #[test]
    fn what_follows_an_open_secret_is_hidden() {
        for before in ["password = \"\"\n", "password =\n\n", "password = \"hun\n", "token\n# x\n", "password = {\n"] {
            assert_eq!(
                KNOWN.hides(&format!("{before}id = ter2"), before.len(), "id = ter2", false),
                Some(0),
                "{before}"
            );
        }
        for before in [
            "proxy = \"http://u:hun\n",
            "url = \"mqtt://u:\n",
            "headers = {\n",
            "headers = {\n  A = \"b\",\n",
            "[endpoint.a.headers]\n",
            "[endpoint.a.haeders]\nA = \"b\"\n",
        ] {
            assert_eq!(KNOWN.hides(&format!("{before}id = 5"), before.len(), "id = 5", true), Some(0), "{before}");
        }
        for before in ["password = \"hunter2\"\n", "# a token\n", "password =\n[[client]]\n", "id =\n"] {
            assert_eq!(KNOWN.hides(&format!("{before}id = 5x"), before.len(), "id = 5x", false), None, "{before}");
        }
        // Where the text is no TOML, what looks like a key may be a piece of a secret.
        assert_eq!(KNOWN.hides("hunter2= x", 0, "hunter2= x", false), Some(0));
        assert_eq!(KNOWN.hides("hunter2= x", 0, "hunter2= x", true), Some(8));
    }
}
