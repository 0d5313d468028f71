//! Defines how the InfluxDB is read that metrics are pushed to (`[metrics.influx]`); what is pushed is the metrics' matter.

use std::time::Duration;

use super::{
    Surroundings, format,
    notifying::{access, warn_of_clear, web_address},
    settings::whole_seconds,
    telling::needed,
};
use crate::{
    document::{Draft, Report, Table, Value, quoted},
    fleet::Secret,
    telling::{Access, Destination, Influx},
    text::Scrubbed,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn read(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Influx> {
    let example = "{ url = \"http://127.0.0.1:8086\", database = \"mqfleet\" }";
    let table = value.table(report, "[metrics.influx]", example)?;
    table.check(format::INFLUX, report);
    let url = needed(&table, "url", "url = \"http://127.0.0.1:8086\"", report).and_then(|value| url(&value, report));
    let access = access(&table, report, around);
    let destination = destination(&table, report);
    let every = table.get("every").map(|value| whole_seconds(&value, report, SECOND, HOUR, "points are written"));
    let keep = table.get("keep").map(|value| value.duration(report, SECOND, DAY));
    let (every, keep) = (every.unwrap_or(Some(Influx::EVERY))?, keep.unwrap_or(Some(Influx::KEEP))?);
    let ((url, shown), destination, access) = (url?, destination?, access?);
    if let (Destination::Bucket { .. }, Access::Basic { .. }) = (&destination, &access) {
        let span = table.key_span("username").unwrap_or(table.span.clone());
        let draft = Draft::at(span, "a bucket is written to with a token, and not with a user name and a password");
        report.error(draft.help("give `token` instead: an API token that may write to the bucket"));
        return None;
    }
    if let (Destination::Database(_), Access::Bearer(_)) = (&destination, &access) {
        let span = table.key_span("token").unwrap_or(table.span.clone());
        let draft = Draft::at(span, "a database is written to with a user name and a password, and not with a token");
        report.error(draft.help("give `username` and `password`; of InfluxDB 2 and later give `org` and `bucket`"));
        return None;
    }
    warn_of_clear(&url, &access, &table, report);
    Some(Influx { url, shown, destination, access, every, keep })
}

fn url(value: &Value<'_>, report: &mut Report<'_>) -> Option<(Secret, Scrubbed)> {
    let text = value.string(report, "a URL in quotes, such as \"http://127.0.0.1:8086\"")?;
    let address = web_address(text, "http://127.0.0.1:8086").and_then(|shown| match text.contains(['?', '#']) {
        true => Err((
            "this URL has more than a path",
            "what is written where is said beside it: `database`, or `org` and `bucket`".to_owned(),
        )),
        false => Ok((Secret::new(text.trim_end_matches('/').to_owned()), Scrubbed::new(&shown))),
    });
    address.map_err(|(title, help)| report.error(Draft::at(value.span.clone(), title).help(help))).ok()
}

/// Where points are put: either the one, or the other.
fn destination(table: &Table<'_>, report: &mut Report<'_>) -> Option<Destination> {
    let mut text = |key: &str| {
        let value = table.get(key)?;
        let text = value.string(report, "a name in quotes").map(str::to_owned);
        if text.as_deref() == Some("") {
            report.error(Draft::at(value.span, format!("`{key}` is empty")));
            return Some(None);
        }
        Some(text)
    };
    let help = "`database` is of InfluxDB 1; `org` and `bucket` are of InfluxDB 2 and later";
    match (text("database"), text("org"), text("bucket")) {
        (Some(database), None, None) => database.map(Destination::Database),
        (None, Some(org), Some(bucket)) => Some(Destination::Bucket { org: org?, bucket: bucket? }),
        (None, None, None) => {
            report.error(Draft::at(table.span.clone(), "[metrics.influx] has no `database`").help(help));
            None
        }
        (Some(_), ..) => {
            let key = if table.get("org").is_some() { "org" } else { "bucket" };
            let span = table.key_span(key).unwrap_or(table.span.clone());
            let title = format!("`database` and {} do not go together", quoted(key));
            report.error(Draft::at(span, title).help(help));
            None
        }
        (None, org, _) => {
            let (is, other) = if org.is_some() { ("org", "bucket") } else { ("bucket", "org") };
            let span = table.key_span(is).unwrap_or(table.span.clone());
            report.error(Draft::at(span, format!("`{is}` has no `{other}` beside it")).help(help));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fleet_file::tests::{read, warnings};

    #[test]
    fn both_kinds_are_read_and_tokens_are_not_shown() {
        let read = |text: &str| read(text, Path::new(""), &[("TOKEN", "hunter2")]).expect("a file");
        let one = read("[metrics]\ninflux = { url = 'http://influx:8086/', database = 'mqfleet' }");
        let influx = one.telling.metrics.influx.clone().expect("one");
        assert_eq!((influx.url.expose(), influx.shown.as_str()), ("http://influx:8086", "http://influx:8086"));
        assert_eq!((influx.destination, influx.access), (Destination::Database("mqfleet".into()), Access::Open));
        assert_eq!((influx.every, influx.keep), (Influx::EVERY, Influx::KEEP));
        let two = read(
            "[metrics.influx]\nurl = 'https://influx/prefix'\norg = 'plant'\nbucket = 'b'\ntoken = { env = 'TOKEN' }\nevery = '1m'\nkeep = '1h'",
        );
        let influx = two.telling.metrics.influx.clone().expect("one");
        assert_eq!(influx.destination, Destination::Bucket { org: "plant".into(), bucket: "b".into() });
        assert_eq!((influx.every.as_secs(), influx.keep.as_secs()), (60, 3_600));
        assert_eq!((influx.url.expose(), influx.shown.as_str()), ("https://influx/prefix", "https://influx"));
        assert!(matches!(influx.access, Access::Bearer(_)) && !format!("{two:?}").contains("hunter2"));
        assert_eq!(warnings(&one) + &warnings(&two), "");
    }

    #[test]
    fn every_error_has_its_place_and_what_to_do() {
        const RIGHT: &str = "url = 'http://i:8086'\ndatabase = 'd'\n";
        const BUCKET: &str = "url = 'http://i:8086'\nbucket = 'b'\n";
        for (lines, says, place) in [
            ("database = 'd'", "[metrics.influx] has no `url`", "6:1"),
            ("url = 'influx:8086'\ndatabase = 'd'", "begins with https:// or http://", "7:7"),
            ("url = 'http://u:hunter2@i'\ndatabase = 'd'", "a URL here has no user", "7:7"),
            ("url = 'http://i/write?db=x'\ndatabase = 'd'", "this URL has more than a path", "7:7"),
            ("url = 'http://i:8086'", "has no `database`", "6:1"),
            (BUCKET, "`bucket` has no `org` beside it", "8:1"),
            ("url = 'http://i'\norg = 'o'", "`org` has no `bucket` beside it", "8:1"),
            (&format!("{RIGHT}bucket = 'b'"), "do not go together", "9:1"),
            ("url = 'http://i'\ndatabase = ''", "`database` is empty", "8:12"),
            (&format!("{RIGHT}username = 'u'"), "a user name and a password go together", "9:12"),
            (&format!("{RIGHT}token = {{ env = 'TOKEN' }}"), "and not with a token", "9:1"),
            (
                &format!("{BUCKET}org = 'o'\nusername = 'u'\npassword = {{ env = 'TOKEN' }}"),
                "is written to with a token",
                "10:1",
            ),
            (&format!("{RIGHT}every = '1500ms'"), "`every` must be whole seconds", "9:9"),
            (&format!("{RIGHT}every = '2h'"), "`every` must be", "9:9"),
            (&format!("{RIGHT}keep = 900"), "`keep` needs a unit", "9:8"),
            (&format!("{RIGHT}label = 'site'"), "`label` does not belong to [metrics.influx]", "9:1"),
            (&format!("{RIGHT}db = 'd'"), "unknown key \"db\"", "9:1"),
        ] {
            let text = format!("[metrics.influx]\n{lines}");
            let errors = read(&text, Path::new(""), &[("TOKEN", "hunter2")]).expect_err(lines).to_string();
            assert!(errors.contains(says) && errors.contains(&format!("fleet.toml:{place}")), "{lines}: {errors}");
            assert!(!errors.contains("hunter2"), "{errors}");
        }
        let errors = read("[metrics]\ninflux = 'http://i'", Path::new(""), &[]).expect_err("no table").to_string();
        assert!(errors.contains("fleet.toml:7:10"), "{errors}");
    }
}
