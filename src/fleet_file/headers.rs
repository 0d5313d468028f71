//! Defines how the header fields that an endpoint's WebSocket is asked for with are read; no message ever holds a value, nor a name that may be one.

use std::path::PathBuf;

use super::{Surroundings, password};
use crate::{
    document::{Draft, Report, Value, quoted},
    fleet::Secret,
};

/// What a name contains whose value should not stand in a file.
const SECRET: [&str; 8] = ["authorization", "cookie", "token", "key", "secret", "password", "credential", "signature"];
/// What the handshake itself sets (RFC 6455 §4.1), and what would make another request of it.
const OURS: [&str; 6] = ["host", "upgrade", "connection", "content-length", "transfer-encoding", "expect"];
const OUR_PREFIX: &str = "sec-websocket-";
/// Bytes of all fields; the servers' own limits for a request begin at 8 KiB.
const BYTES_MAX: usize = 64 << 10;
const EXAMPLE: &str = "{ Authorization = { env = \"TOKEN\" } }";

/// Fields with their values, and those whose values stand in files.
#[derive(Default)]
pub(super) struct Headers {
    pub known: Vec<(Box<str>, Secret)>,
    pub files: Vec<(Box<str>, PathBuf)>,
}

/// Reads the fields, in the file's order. A value that comes from a file is only looked at here: it may be another
/// one by the time it is used.
pub(super) fn read(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Headers {
    let (mut headers, mut names, mut bytes) = (Headers::default(), Vec::<String>::new(), 0);
    let Some(table) = value.table(report, "`headers`", EXAMPLE) else { return headers };
    for (name, mut item) in table.in_order() {
        // From here on messages speak of `headers`: the name may be a value in the wrong place.
        item.key = value.key.clone();
        let place = table.key_span(&name).unwrap_or(item.span.clone());
        if let Err((title, help)) = check_name(&name) {
            report.error(Draft::at(place, title).help(help));
            continue;
        }
        if names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            report.error(
                Draft::at(place, "a header is there twice")
                    .help("upper and lower case are the same in a header's name (RFC 9110 §5.1)"),
            );
            continue;
        }
        let Some((text, file)) = text(&name, &item, report, around) else { continue };
        // Blanks around a value are none of it (RFC 9110 §5.5).
        let text = text.trim_matches([' ', '\t']);
        if text.chars().any(|c| c.is_control() && c != '\t') {
            report.error(
                Draft::at(item.span.clone(), "a header's value has a line end, a NUL or another control character")
                    .help("HTTP cannot carry it (RFC 9110 §5.5)"),
            );
            continue;
        }
        bytes += name.len() + text.len() + 4;
        match file {
            Some(file) => headers.files.push((name.as_str().into(), file)),
            None => headers.known.push((name.as_str().into(), Secret::new(text.to_owned()))),
        }
        names.push(name.to_string());
    }
    if bytes > BYTES_MAX {
        report.error(Draft::at(value.span.clone(), "`headers` has more than 64 KiB").help("no server takes so much"));
    }
    headers
}

/// A value, and the file where it stands.
fn text(
    name: &str,
    value: &Value<'_>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<(String, Option<PathBuf>)> {
    if !value.is_string() {
        return password::header(value, report, around);
    }
    let text = value.string(report, "")?.to_owned();
    let name = name.to_ascii_lowercase();
    if let Some(word) = SECRET.iter().find(|word| name.contains(*word)) {
        report.warning(
            Draft::at(value.span.clone(), format!("a header with \"{word}\" in its name, in plain text"))
                .help("better: { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }"),
        );
    }
    Some((text, None))
}

fn check_name(name: &str) -> Result<(), (String, &'static str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || name.len() > 256 || !name.chars().all(is_token) {
        return Err((
            "this is no header's name".into(),
            "letters, digits and dashes (RFC 9110 §5.1), such as X-Tenant",
        ));
    }
    let lower = name.to_ascii_lowercase();
    if OURS.contains(&lower.as_str()) || lower.starts_with(OUR_PREFIX) {
        let help = "take it out; the host is that of `url`, and the protocol asked for is \"mqtt\"";
        return Err((format!("the header {} is set by the handshake itself", quoted(name)), help));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use crate::fleet_file::{
        Loaded,
        tests::{read, warnings},
    };

    #[test]
    fn headers_come_from_elsewhere_and_are_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "Bearer hunter2\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(dir.path().join("split"), "hunter2\nid: x").unwrap();
        let env = [("TOKEN", "Bearer hunter2"), ("BAD", "hunter2\r\nx: y"), ("EMPTY", "")];
        let seen =
            |headers: &str| read(&format!("[endpoint.w]\nurl = 'ws://w'\nheaders = {headers}"), dir.path(), &env);
        let fields = |loaded: &Loaded| -> Vec<(String, String)> {
            let websocket = loaded.fleet.endpoints[1].transport.websocket().unwrap();
            websocket.headers.iter().map(|(name, value)| (name.to_string(), value.expose().to_owned())).collect()
        };
        let loaded =
            seen("{ Authorization = { env = 'TOKEN' }, X-Tenant = ' plant ', \"X-Api-Key\" = { file = 'token' } }")
                .unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(fields(&loaded), [pair("Authorization", "Bearer hunter2"), pair("X-Tenant", "plant")]);
        let websocket = loaded.fleet.endpoints[1].transport.websocket().unwrap();
        assert_eq!(websocket.header_files, [("X-Api-Key".into(), path)], "it is read for every connect");
        assert!(!format!("{loaded:?}").contains("hunter2"));
        assert_eq!(warnings(&loaded), "");

        let plain = seen("{ authorization = 'hunter2', X-Tenant = 'hunter2' }").unwrap();
        let said = warnings(&plain);
        assert!(said.contains("a header with \"authorization\" in its name, in plain text"), "{said}");
        assert!(!said.contains("hunter2") && plain.warnings.len() == 1, "{said}");

        for (headers, says) in [
            ("{ A = { env = 'BAD' } }", "a header's value has a line end"),
            ("{ A = { file = 'split' } }", "a header's value has a line end"),
            ("{ A = \"hunter2\\u0000\" }", "a NUL"),
            ("{ A = { env = 'EMPTY' } }", "the header's `env` is empty"),
            ("{ A = { env = 'NOPE' } }", "variable \"NOPE\" is not set"),
            ("{ A = { env = 'hunter2!' } }", "must be the name"),
            ("{ A = { env = 'TOKEN', file = 'x' } }", "a header comes from one place"),
            ("{ A = { file = 'nosuch' } }", "cannot read the header file"),
            ("{ A = 5 }", "`headers` must be a table, not an integer"),
            ("'hunter2'", "`headers` must be a table, not a string"),
            ("{ 'Bearer hunter2' = 'x' }", "this is no header's name"),
            ("{ '' = 'x' }", "this is no header's name"),
            ("{ 'Größe' = 'x' }", "this is no header's name"),
            ("{ Host = 'hunter2' }", "the header \"Host\" is set by the handshake itself"),
            ("{ UPGRADE = 'x' }", "set by the handshake"),
            ("{ connection = 'x' }", "set by the handshake"),
            ("{ sec-websocket-protocol = 'x' }", "set by the handshake"),
            ("{ X-A = 'x', x-a = 'hunter2' }", "a header is there twice"),
        ] {
            let errors = seen(headers).unwrap_err().to_string();
            assert!(errors.contains(says) && !errors.contains("hunter2"), "{headers}: {errors}");
            assert_eq!(errors.matches("error: ").count(), 1, "one slip, one error: {errors}");
        }
        let long = format!("{{ A = '{}' }}", "x".repeat(65_600));
        assert!(seen(&long).unwrap_err().to_string().contains("more than 64 KiB"));
    }
}
