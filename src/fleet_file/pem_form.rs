//! Defines what can be wrong with the form of a PEM file, whatever is in its blocks: OpenSSL says of all these only that it found no start, or a bad end.

use super::pem::Flaw;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// What keeps OpenSSL from reading the blocks of a file (RFC 7468 §2), with the line where it is.
pub(super) fn flaw(bytes: &[u8]) -> Option<Flaw> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Some(("is in UTF-16".into(), Some("save it as UTF-8 or ASCII text")));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut open: Option<(usize, &str)> = None;
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim_end())) {
        let bare = line.trim_start_matches([' ', '\t', '\u{feff}']);
        let is_mark = bare.starts_with(BEGIN) || bare.starts_with(END);
        if is_mark && bare.len() != line.len() {
            return Some(match line.starts_with('\u{feff}') {
                true => {
                    ("begins with a byte order mark".into(), Some("save it without one: as UTF-8, not UTF-8 with BOM"))
                }
                false => (
                    format!("has an indented line {number}: OpenSSL reads such lines only from their begin"),
                    Some("take the blanks away: sed -i 's/^[[:blank:]]*//' FILE"),
                ),
            });
        }
        if !is_mark {
            // What came before it has no line end.
            if line.contains(BEGIN) || line.contains(END) {
                return Some(in_line_of_another(number));
            }
            continue;
        }
        let rest = &bare[BEGIN.len().min(bare.len())..];
        if rest.contains(BEGIN) || rest.contains(END) {
            return Some(in_line_of_another(number));
        }
        let label = bare.trim_start_matches(BEGIN).trim_start_matches(END).trim_end_matches('-');
        match (bare.starts_with(BEGIN), open) {
            (true, None) => open = Some((number, label)),
            (true, Some((begin, _))) => {
                return Some((format!("has a block that begins in line {begin} and does not end"), Some(CUT)));
            }
            (false, Some((_, its))) if its == label => open = None,
            (false, Some((begin, _))) => {
                let title = format!("has a block that begins in line {begin} and ends as another in line {number}");
                return Some((title, Some(CUT)));
            }
            (false, None) => {
                return Some((format!("has a block that ends in line {number} and does not begin"), Some(CUT)));
            }
        }
    }
    open.map(|(begin, _)| (format!("has a block that begins in line {begin} and does not end"), Some(CUT)))
}

const CUT: &str = "a part of the file is missing: copy it anew, all of it";

fn in_line_of_another(number: usize) -> Flaw {
    (
        format!("has in line {number} the begin or end of a block that is not on a line of its own"),
        Some("put a line end there: `cat A B` glues files whose last line has none"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_file_is_looked_at() {
        const A: &str = "-----BEGIN A-----\nMIIB\n-----END A-----";
        for (text, says) in [
            (String::new(), None),
            ("nothing".into(), None),
            (A.to_owned(), None),
            (format!("# from us\n{A}\n\nsubject=CN = a -----\n{A}\r\n"), None),
            (A.replace('\n', "\r\n"), None),
            (format!("{A}{A}"), Some("in line 3")),
            (format!("{A}\n{A}{A}\n"), Some("in line 6")),
            (A.replace("MIIB\n", "MIIB"), Some("in line 2")),
            (format!("subject=CN = a{A}"), Some("in line 1")),
            (A.replace("-----BEGIN", "  -----BEGIN"), Some("an indented line 1")),
            (A.replace("-----END", "\t-----END"), Some("an indented line 3")),
            (format!("\u{feff}{A}"), Some("byte order mark")),
            (A.replace("\n-----END A-----", ""), Some("begins in line 1 and does not end")),
            (format!("{}\n{A}", &A[..22]), Some("begins in line 1 and does not end")),
            (A.replace("END A", "END B"), Some("begins in line 1 and ends as another in line 3")),
            (A.replace("-----BEGIN A-----\n", ""), Some("ends in line 2 and does not begin")),
        ] {
            let flaw = flaw(text.as_bytes());
            assert_eq!(flaw.is_some(), says.is_some(), "{text:?}: {flaw:?}");
            if let (Some((title, help)), Some(says)) = (flaw, says) {
                assert!(title.contains(says) && help.is_some(), "{text:?}: {title}");
            }
        }
        assert!(flaw(b"\xff\xfe-\0-\0").is_some_and(|(title, _)| title.contains("UTF-16")));
    }
}
