//! "Did you mean ...?"

/// The word that was most likely meant: at most a third of its letters away.
pub(super) fn nearest<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let near = |word: &&str| distance(written, word) <= word.len().div_ceil(3).min(3);
    words.filter(near).min_by_key(|word| distance(written, word))
}

/// How many letters must be added, dropped, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let other = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + other);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant() {
        let words = ["brokers", "kind", "partitions", "topic_prefix"];
        for (written, expected) in [
            ("broker", Some("brokers")),
            ("Kind", Some("kind")),
            ("partitoins", Some("partitions")),
            ("topic-prefix", Some("topic_prefix")),
            ("slo", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, words.into_iter()), expected, "{written}");
        }
    }
}
