//! Defines which right word a mistyped one was probably meant to be; what the right words are, its callers say.

/// The word of `words` that is at most two slips away from `typed` (one for short words), if any.
/// The nearest wins, then the first.
pub fn nearest<'w>(typed: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let slips = match typed.chars().count() {
        0..=1 => return None,
        2..=3 => 1,
        _ => 2,
    };
    let typed = typed.to_lowercase().replace('-', "_");
    words
        .into_iter()
        .map(|word| (distance(&typed, &word.to_lowercase().replace('-', "_")), word))
        .filter(|(d, _)| *d <= slips)
        .min_by_key(|(d, _)| *d)
        .map(|(_, word)| word)
}

/// The number of letters to insert, drop, change, or swap with their neighbour (Damerau's distance,
/// in its optimal string alignment form). Words longer than 64 letters are far from everything.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    const FAR: usize = usize::MAX;
    if a.len() > 64 || b.len() > 64 {
        return if a == b { 0 } else { FAR };
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            next[j] = changed.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, d) in [
            ("keep_alive", "keepalive", 1),
            ("tets", "test", 1),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("größe", "grosse", 3),
        ] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_wins_and_far_words_do_not() {
        let words = ["keep_alive", "clean_start", "count", "id"];
        assert_eq!(nearest("keepalive", words), Some("keep_alive"));
        assert_eq!(nearest("Keep-Alive", words), Some("keep_alive"));
        assert_eq!(nearest("cuont", words), Some("count"));
        assert_eq!(nearest("ids", words), Some("id"));
        assert_eq!(nearest("topic", words), None);
        assert_eq!(nearest("x", words), None);
    }
}
